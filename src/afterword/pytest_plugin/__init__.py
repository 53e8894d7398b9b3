"""The pytest plugin: each test begins with an empty store, and never touches the real one.

Every `Afterword` of a test run keeps its jobs in a file in a temporary directory; its URL is
ignored. A request waits for its tasks, so an assertion may follow at once:

    def test_signup():
        with TestClient(app) as client:
            client.post("/signup")
        assert mails == ["welcome"]

With the fixture `jobs`, tasks run only when the test says so:

    def test_signup(jobs):
        TestClient(app).post("/signup")
        assert jobs.added(send_mail, subject="welcome")
        jobs.run()

See the page on testing. Disable the plugin with `-p no:afterword`.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterword.app import Afterword
from afterword.pytest_plugin.jobs import Jobs
from afterword.pytest_plugin.run import PytestRun
from afterword.store.opening import STORES_OF_TESTS

__all__ = ["Jobs"]

_run = pytest.StashKey[PytestRun]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give every application of this run a store and a clock for tests.

    A conftest.py may import the application, so this comes before pytest_configure.
    """
    _begin(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Do the same if the plugin was named in a conftest.py, which comes too late for the above."""
    _begin(config)


def _begin(config: pytest.Config) -> None:
    if _run not in config.stash:
        running = _running(config)
        next(running)
        config.add_cleanup(lambda: next(running, None))


def _running(config: pytest.Config) -> Iterator[None]:
    given = {name: os.environ.get(name) for name in ("AFTERWORD_URL", STORES_OF_TESTS)}
    with tempfile.TemporaryDirectory(prefix="afterword-", ignore_cleanup_errors=True) as folder:
        # For scripts that tests start, and applications that have no URL of their own.
        os.environ["AFTERWORD_URL"] = f"sqlite:///{Path(folder) / 'jobs.db'}"
        outer, run = Afterword.test_run, PytestRun(Path(folder))
        config.stash[_run] = Afterword.test_run = run
        yield
        Afterword.test_run = outer
        run.end()
        for name, value in given.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin each test without jobs; before its fixtures, which may add some."""
    item.config.stash[_run].begin_test()


@pytest.fixture(scope="session")
def afterword_url() -> str | None:
    """The URL of a store for tests, whose jobs each test deletes; None: a temporary file.

    If jobs are added in transactions of the application (`bind`), override it in conftest.py with
    the URL of the tests' own database. It applies to the tests of its folder or module.
    """
    return None


@pytest.fixture(scope="session", autouse=True)
def _afterword_store(request: pytest.FixtureRequest, afterword_url: str | None) -> None:
    """Name the store of the first test before a fixture of the whole run starts an application."""
    request.config.stash[_run].use_url(afterword_url)


@pytest.fixture(scope="module", autouse=True)
def _afterword_store_of_module(request: pytest.FixtureRequest, afterword_url: str | None) -> None:
    """Name the store of this module's tests: each folder can have its own `afterword_url`."""
    request.config.stash[_run].use_url(afterword_url)


@pytest.fixture
def jobs(request: pytest.FixtureRequest) -> Jobs:
    """The jobs of the test, which start only when the test runs them."""
    run = request.config.stash[_run]
    run.hold_jobs(True)  # until the next test begins, because these must not run in between
    return Jobs(run)
