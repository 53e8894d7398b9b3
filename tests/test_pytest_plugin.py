"""The pytest plugin, in a separate pytest that runs the tests of tests/under_plugin."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.helpers import ROOT

INNER = ROOT / "tests/under_plugin"

CONFTEST = """
import tests.under_plugin.shop  # before pytest has been configured
"""

UNBOUND = """
import sqlalchemy.orm
from tests.under_plugin.shop import afterword, blocking

def test_bind():
    with sqlalchemy.orm.Session(sqlalchemy.create_engine("sqlite:///app.db")) as session:
        afterword.bind(session).add_task(blocking, 1)
"""

URL_TOO_LATE = """
import pytest
from fastapi.testclient import TestClient
from tests.under_plugin.shop import app

@pytest.fixture(scope="session", autouse=True)
def aa_client():
    with TestClient(app) as client:
        yield client

@pytest.fixture(scope="session")
def afterword_url(aa_client):
    return "sqlite:///tests.db"

def test_nothing():
    pass
"""

TIMED = """
from fastapi.testclient import TestClient
from afterword.pytest_plugin import Jobs
from tests.under_plugin.shop import app

def test_a_delay(jobs: Jobs):
    with TestClient(app) as client:
        client.post("/delayed")
        assert [] == jobs.run()
        jobs.move_time(3600)
        assert jobs.run()
"""

LEFT_RUNNING = """
import pytest
from fastapi.testclient import TestClient
from afterword.pytest_plugin import run
from tests.under_plugin.shop import app, gate, hang

@pytest.fixture(scope="module")
def client():
    with TestClient(app) as client:
        yield client
        gate.set()

def test_which_waits_for_too_long(client, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", 0.5)
    with pytest.raises(TimeoutError, match="tests.under_plugin.shop:hang"):
        client.post("/one/hang")

def test_after_it(client, jobs):
    assert [] == jobs.added()

    client.post("/one/hang")
    assert 1 == len(jobs.added(hang))
"""


def run_pytest(
    folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a folder, with only the configuration and conftest.py of that folder."""
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *options, "--confcutdir", str(folder), *arguments]
    return warm.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def passed(result: "subprocess.CompletedProcess[str]") -> int:
    """Return the number of tests, all of which must have passed."""
    found = re.search(r"^(\d+) passed", result.stdout, re.MULTILINE)
    assert 0 == result.returncode, result.stdout + result.stderr
    assert found
    return int(found[1])


@pytest.mark.parametrize(("name", "tests"), [("waiting", 9), ("holding", 37)])
def test_the_plugin_is_found(name: str, tests: int, tmp_path: Path) -> None:
    """Installing Afterword is enough: pytest finds the plugin by its entry point."""
    shutil.copy(INNER / f"{name}.py", tmp_path / f"test_{name}.py")
    result = run_pytest(tmp_path)

    assert tests == passed(result)


def test_a_conftest_may_import_the_application(tmp_path: Path) -> None:
    """The application is made before the plugin is configured, and its real store stays away."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    shutil.copy(INNER / "waiting.py", tmp_path / "test_waiting.py")
    result = run_pytest(tmp_path, AFTERWORD_URL=f"sqlite:///{tmp_path / 'real.db'}")

    assert 9 == passed(result)
    assert not (tmp_path / "real.db").exists()


def test_without_it_requests_do_not_wait(tmp_path: Path) -> None:
    """`-p no:afterword` leaves applications as they are in production."""
    shutil.copy(INNER / "waiting.py", tmp_path / "test_waiting.py")
    result = run_pytest(tmp_path, "-p", "no:afterword", "-k", "requests_wait")

    assert 1 == result.returncode, result.stdout + result.stderr
    assert "1 failed" in result.stdout


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_database_of_the_tests_can_be_the_store(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'test.db'}"
    if kind == "postgres":
        url = request.getfixturevalue("new_postgres_url")
    shutil.copy(INNER / "own_database.py", tmp_path / "test_own_database.py")
    result = run_pytest(tmp_path, TEST_DATABASE=url)

    assert 5 == passed(result)


def test_a_transaction_elsewhere_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "test_unbound.py").write_text(UNBOUND)
    result = run_pytest(tmp_path)

    assert "1 failed" in result.stdout
    assert "afterword_url" in result.stdout


@pytest.mark.parametrize("order", [("bound", "timed"), ("timed", "bound")], ids="-".join)
def test_each_folder_can_have_a_database(order: tuple[str, str], tmp_path: Path) -> None:
    """Those with `bind` and those that move the time, whichever come first."""
    for folder in order:
        (tmp_path / folder).mkdir()
    shutil.copy(INNER / "own_database.py", tmp_path / "bound" / "test_bound.py")
    (tmp_path / "timed" / "test_timed.py").write_text(TIMED)
    url = f"sqlite+pysqlite:///{tmp_path / 'test.db'}"
    result = run_pytest(tmp_path, *order, "-p", "no:randomly", TEST_DATABASE=url)

    assert 6 == passed(result)


def test_the_database_must_be_known_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "test_late.py").write_text(URL_TOO_LATE)
    result = run_pytest(tmp_path)

    assert "1 error" in result.stdout
    assert "before an application is started" in result.stdout


def test_a_job_that_runs_on_is_not_seen_by_the_next_test(tmp_path: Path) -> None:
    (tmp_path / "test_left.py").write_text(LEFT_RUNNING)
    result = run_pytest(tmp_path, "-p", "no:randomly")

    assert 2 == passed(result)
