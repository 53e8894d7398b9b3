"""The PostgreSQL server that tests share, its databases, and the stores that tests run on."""

import gc
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest

from afterword.model import job
from afterword.store.postgres import session
from afterword.tasks import application
from afterword.worker.processes import process
from tests import command_line, in_memory, warm
from tests.hostile import hostile_database
from tests.postgres import Cluster, Server, some_server
from tests.stores import KINDS, MakeStore, new_file, stores_in, stores_on

# A process that a shell or nohup starts in the background ignores these signals, and its children
# would, too.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# A machine that does something else for a second is no fault of an example.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

in_memory.use_memory()
gc.disable()  # until all tests are collected: their objects stay alive
# Otherwise each process that a test starts would compile its imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

application.include(__name__)  # functions of tests count as the application's

# Modules whose tests last for seconds. They are dealt test by test, before the others.
LONG = (
    "crash/test_crash",
    "crash/test_chaos",
    "crash/test_simulation",
    "house/test_typing",
    "request/test_bad_input",
    "process/test_draining",
    "tests/test_pytest_plugin",
    "life/test_rates",
    "store/test_store_machine",
    "store/test_sqlite",
    "cli/test_worker_command",
    "life/test_schedules",
    "cli/test_demo",
    "house/test_examples",
)
# Those that start something dear for all their tests, a browser or brokers, stay in one process
# and come first. A word for each process.
WHOLE = ("/dashboard/test_browser", "/fleets/", "/dashboard/test_lost_pages")


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which they are shared out to processes."""
    _refuse_addresses([item.nodeid for item in items])
    items[:] = _dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _dealt(items: Sequence[pytest.Item], parts: int) -> list[pytest.Item]:
    """Deal each process as many tests as pytest-xdist gives it; most modules stay together."""
    names = [str(item.path.with_suffix("")) for item in items]
    whole = [[item for item, name in zip(items, names, strict=True) if it in name] for it in WHOLE]
    first = {item for group in whole for item in group}
    rest = [(item, name) for item, name in zip(items, names, strict=True) if item not in first]
    long = [item for item, name in rest if name.endswith(LONG)]
    others = [item for item, name in rest if not name.endswith(LONG)]
    dealt: list[pytest.Item] = []
    for part in range(parts):
        dealt += (item for group in whole[part::parts] for item in group)
        dealt += long[part::parts]
        free = max(0, len(items) * (part + 1) // parts - len(dealt))
        dealt += others[:free]
        del others[:free]
    return [*dealt, *others]


def pytest_collection_finish() -> None:
    """Exclude the objects of seven thousand collected tests from garbage collections."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _refuse_addresses(names: Sequence[str]) -> None:
    """Refuse names of tests with addresses: processes that share the tests must agree on them."""
    if wrong := [name for name in names if re.search(" at 0x[0-9a-f]{9}", name)]:
        raise pytest.UsageError(f"a name must not have an address in it: give ids= to {wrong[0]}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Use asyncio; a module that depends on the event loop has its own fixture."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def quick_children() -> Iterator[None]:
    """Fork the processes of tasks, too: see `tests.warm`."""
    forking = SimpleNamespace(Popen=warm.Popen, PIPE=subprocess.PIPE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "subprocess", forking)
        yield


@pytest.fixture
def new_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the processes of tasks as new interpreters, for a test of their start."""
    monkeypatch.setattr(process, "subprocess", subprocess)


@pytest.fixture
def ids_of_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo a change of the clock for new ids: they never go back, so they would stay ahead."""
    monkeypatch.setattr(job, "_stamps", type(job._stamps)())


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server: AFTERWORD_TEST_POSTGRES, or a private one."""
    with some_server() as server:
        yield server


@pytest.fixture
def postgres_url(server: Server, shared_url: str) -> str:
    """A database without jobs: emptying one takes a hundredth of the time of creating one."""
    server.renew(shared_url)
    return shared_url


@pytest.fixture
def new_postgres_url(server: Server) -> Iterator[str]:
    """A new database, without even the tables of a store."""
    with server.database() as url:
        yield url


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The test's own PostgreSQL server, which it may stop and start."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_url(server: Server) -> Iterator[str]:
    """A database for all tests that empty it before they use it."""
    with server.database() as url:
        yield url


@pytest.fixture(scope="session")
def hostile_url(server: Server) -> Iterator[str]:
    """A database with unexpected settings, for all tests that empty it before they use it."""
    with hostile_database(server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new store, once in a file and once in a PostgreSQL database."""
    if request.param == "sqlite":
        return new_file(tmp_path / "jobs.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """A factory of new, empty stores, not yet opened; once for each kind."""
    if request.param != "postgres":
        return stores_in(tmp_path, request.param)
    return stores_on(request.getfixturevalue("server"), request.getfixturevalue("shared_url"))


@pytest.fixture(params=command_line.KINDS)
def shell(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[command_line.Shell]:
    """A command line on a store, once for each kind."""
    url = command_line.new_url(request.param, tmp_path, request)
    with command_line.opened(url, tmp_path, capsys, monkeypatch) as shell:
        yield shell


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores wait for locks: without a group commit no operation is set aside."""
    monkeypatch.setitem(session.IMPATIENT, "lock_timeout", "5000")
