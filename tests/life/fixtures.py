"""Fixtures that the tests of a job's life and of the request's side share."""

from pathlib import Path

import pytest

from afterword import telemetry
from tests.life import site
from tests.stores import new_file


@pytest.fixture(autouse=True)
def forget_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task has run yet, and nothing has been warned of."""
    site.seen.clear()
    site.gate.clear()
    monkeypatch.setattr(telemetry, "_warned", set())


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of a new store, one of each kind."""
    return file_url if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """A store where it does not matter which."""
    return new_file(tmp_path / "jobs.db")
