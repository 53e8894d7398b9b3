"""Wireup's page about background tasks works as written, but with durable tasks.

https://maldoinc.github.io/wireup/latest/integrations/fastapi/background_tasks/, and the same for
Starlette.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from wireup import Injected
from wireup.integration.fastapi import WireupTask

from afterword import Afterword, JobState, NotStorable, task
from afterword.client.handle import ProgressRecord
from tests.injection import services
from tests.injection.services import Greeter
from tests.injection.wireup_site import TASKS, fastapi_app, seen, starlette_app
from tests.sites import serving

WAYS: list[tuple[Callable[[], Starlette], str]] = [
    (fastapi_app, "/added"),
    (fastapi_app, "/on-response"),
    (fastapi_app, "/plain"),
    (fastapi_app, "/twice"),
    (starlette_app, "/on-response"),
]
KINDS = [f"{kind}{suffix}" for kind in ("use_session", "use_client") for suffix in ("", "_async")]


@pytest.fixture(autouse=True)
def _forget() -> None:
    services.log.clear()
    seen.clear()


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].__name__}{way[1]}")
def way(request: pytest.FixtureRequest) -> tuple[Starlette, str]:
    """An application, and a path whose requests add a task."""
    make, path = request.param
    return make(), path


@pytest.mark.parametrize("name", ["write_greeting", "write_greeting_async"])
def test_the_page_works_as_written_and_durable(
    way: tuple[Starlette, str], name: str, tmp_path: Path
) -> None:
    """All forms store the same job."""
    app, path = way
    with serving(app, tmp_path) as site:
        answer = site.client.post(f"{path}/{name}")
        states = site.states()
        (job,) = site.jobs()

    assert 200 == answer.status_code
    assert [JobState.COMPLETED] == states
    assert (f"tests.injection.wireup_site:{name}", '{"name":"World"}') == (job.task, job.arguments)
    assert ["Hello World"] == seen


@pytest.mark.parametrize("name", KINDS)
def test_singletons_are_shared_and_scopes_are_fresh(
    way: tuple[Starlette, str], name: str, tmp_path: Path
) -> None:
    app, path = way
    with serving(app, tmp_path) as site:
        for _ in range(2):
            site.client.post(f"{path}/{name}")
        states = site.states()

    (_, one, greeter), (_, two, again) = seen
    assert [JobState.COMPLETED] * 2 == states
    assert one is not two
    assert greeter is again
    per_attempt = ["open", "commit", "close"]
    if "client" in name:
        per_attempt = ["open", "connect", "disconnect", "commit", "close"]
    assert per_attempt * 2 == services.log


@pytest.mark.parametrize("name", ["fail_once", "fail_once_async"])
def test_a_failed_attempt_rolls_back_and_its_retry_has_a_fresh_scope(
    way: tuple[Starlette, str], name: str, tmp_path: Path, registry: None
) -> None:
    """The exception reaches the factories."""
    app, path = way
    task(TASKS[name], retries=1, backoff=0)
    with serving(app, tmp_path) as site:
        site.client.post(f"{path}/{name}")
        states = site.states()
        (job,) = site.jobs()

    error = repr(ValueError("no luck"))
    failed = ["open", "connect", f"abort: {error}", "disconnect", f"rollback: {error}", "close"]
    worked = ["open", "connect", "disconnect", "commit", "close"]
    assert ([JobState.COMPLETED], 2, 1) == (states, job.attempt, job.failures)
    assert [*failed, *worked] == services.log
    (first, one, two), (second, three, four) = seen
    assert 6 == len({id(each) for each in (first, second, one, two, three, four)})


def test_a_function_that_wireup_has_wrapped_is_found_and_unwrapped(
    way: tuple[Starlette, str], tmp_path: Path
) -> None:
    """The wrapper is in its module; functions that it calls share the attempt's scope."""
    app, path = way
    with serving(app, tmp_path, strict=True) as site:
        site.client.post(f"{path}/decorated")
        states = site.states()
        (job,) = site.jobs()

    assert [JobState.COMPLETED] == states
    assert "tests.injection.wireup_site:decorated" == job.task
    assert [("Hello World", True)] == seen
    assert ["open", "commit", "close"] == services.log


def test_what_no_other_process_would_find_is_refused(tmp_path: Path) -> None:
    """This is a local function in a wrapper, or one that its module does not have."""

    def local(greeter: Injected[Greeter]) -> None: ...

    def hidden(greeter: Injected[Greeter]) -> None: ...

    hidden.__qualname__ = "write_greeting"
    hidden.__module__ = "tests.injection.wireup_site"
    app = fastapi_app()
    afterword = Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}")
    wireup_task = WireupTask(app.state.wireup_container)
    for func, message in (
        (local, "at the top of a module"),
        (hidden, "must be found in its module"),
    ):
        with pytest.raises(NotStorable, match=message):
            afterword.add_task_sync(wireup_task(func))


def test_the_context_of_the_attempt_is_in_wireups_scope(
    way: tuple[Starlette, str], tmp_path: Path
) -> None:
    app, path = way
    with serving(app, tmp_path) as site:
        site.client.post(f"{path}/audit")
        site.states()
        (job,) = site.jobs()

    assert [job.id] == seen
    assert ProgressRecord(1, 2) == ProgressRecord.read(job.progress)


@pytest.mark.parametrize("name", [*TASKS])
def test_without_a_lifespan_it_runs_in_the_request(
    way: tuple[Starlette, str], name: str, tmp_path: Path
) -> None:
    """With a bare TestClient nothing is stored, and the task gets the same objects."""
    app, path = way
    with serving(app, tmp_path, started=False, raise_server_exceptions=False) as site:
        site.client.post(f"{path}/{name}")

    assert 1 == len(seen)
    assert [] == site.jobs()
