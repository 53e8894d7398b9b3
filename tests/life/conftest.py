"""Fixtures of all tests of a job's life."""

from pathlib import Path

import pytest

from tests.life.fixtures import file_url, forget_what_ran, store_url

__all__ = ["file_url", "forget_what_ran", "store_url"]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to which the tasks of all processes append their steps."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("LEDGER", str(path))
    return path
