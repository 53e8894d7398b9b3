"""The statements of each screen: few, the same number for many jobs, and in any thread."""

from pathlib import Path
from typing import Any

import pytest

from afterword.dashboard.routes import ROUTES, Route
from afterword.store.protocol import Declared, Store
from afterword.store.sqlite.reader import Reader
from tests.command_line import new_url
from tests.dashboard.conftest import site_of
from tests.dashboard.population import Population, ordinary
from tests.dashboard.test_access import names, url_of
from tests.stores import opened

MOST = 20
SCREENS = [each for each in ROUTES if each.method == "GET"]
TRANSACTION = ("BEGIN", "COMMIT")


class Counting:
    """A connection that notes its statements."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.executed: list[str] = []

    def execute(self, text: str, *values: Any) -> Any:
        """Execute and note a statement."""
        if text not in TRANSACTION:
            self.executed.append(text)
        return self.connection.execute(text, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def fill(store: Store) -> str:
    """Add five times as much of everything, and a job of a request; returns its id."""
    people = Population(store)
    for number in range(5):
        ordinary(store)
        for _ in range(8):
            people.add(queue=f"queue-{number}", request_id="many")
            people.start("app:f", queue=f"queue-{number}", limit_key="one")
        store.declare(
            [
                Declared(name=f"s{number}", task="app:f", rule="@hourly", words="", next_at=0.0),
            ]
        )
    return people.add(queue="queue-0", request_id="many", limit_key="one")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """Return the statements of each screen, for a small and for a large store."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        use = Reader.use
        connections: list[Counting] = []

        def counted(self: Reader, connection: Any) -> None:
            connections.append(Counting(connection))
            use(self, connections[-1])

        patch.setattr(Reader, "use", counted)
        folder: Path = tmp_path_factory.mktemp("statements")
        for size in ("small", "large"):
            with opened(f"sqlite:///{folder / size}.db") as store:
                job_id = fill(store) if size == "large" else Population(store).add(request_id="one")
                schedule = Declared(
                    name="default", task="app:f", rule="@hourly", words="", next_at=0.0
                )
                store.declare([schedule])
                for route in SCREENS:
                    connections[-1].executed = []
                    answer = site_of(store).client.get(url_of(route, job_id))
                    assert 200 == answer.status_code, route
                    found[route.name, size] = connections[-1].executed
    return found


@pytest.mark.parametrize("route", SCREENS, ids=names)
def test_a_screen_costs_few_statements_however_many_jobs_there_are(
    asked: dict[tuple[str, str], list[str]], route: Route
) -> None:
    small, large = asked[route.name, "small"], asked[route.name, "large"]

    assert len(large) <= MOST
    assert len(large) <= len(small) + 2, [each for each in large if each not in small]


VERBS = list(vars(Store))
FOR_ONE_THREAD = VERBS[VERBS.index("transaction") : VERBS.index("changed") + 1]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_screens_ask_only_what_any_thread_may_ask(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's thread has its own connection, which must not be used by two threads."""
    asked: list[str] = []
    with opened(new_url(kind, tmp_path, request)) as store:
        job_id = Population(store).add(request_id="one")
        for name in FOR_ONE_THREAD:
            monkeypatch.setattr(store, name, lambda *_, name=name, **__: asked.append(name))
        for route in SCREENS:
            site_of(store).client.get(url_of(route, job_id))
        monkeypatch.undo()

    assert {"claim", "settle", "now"} < set(FOR_ONE_THREAD)
    assert [] == asked
