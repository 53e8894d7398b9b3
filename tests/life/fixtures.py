"""Fixtures for the tests of a job's life and of the request's side."""

from pathlib import Path

import pytest

from afterword import telemetry
from tests.life import site
from tests.stores import new_file


@pytest.fixture(autouse=True)
def forget_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the tasks that have run, and the warnings that were given."""
    site.seen.clear()
    site.gate.clear()
    monkeypatch.setattr(telemetry, "_warned", set())


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of a new store, once for each kind."""
    return file_url if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of a new store, for tests that run on one kind only."""
    return new_file(tmp_path / "jobs.db")
