"""Several hosts: web processes that only store, workers, and PostgreSQL between them.

The code stays the same; only the URL changes. Everything that holds in one process, such as
unique keys, limits and schedules, holds across all processes that share a store.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, JobState
from tests import warm
from tests.guide.kitchen import brew
from tests.helpers import ROOT, wait_until

KITCHEN = "tests.guide.kitchen:app"


@pytest.fixture
def url(postgres_url: str) -> str:
    """A database on a real server. A SQLite file works as well, on one machine."""
    return postgres_url


@contextmanager
def worker(folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `afterword worker tests.guide.kitchen:app`, as another host would."""
    process: subprocess.Popen[bytes] = warm.Popen(
        [sys.executable, "-m", "afterword", "worker", KITCHEN],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AFTERWORD_URL": url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_process_stores_and_another_runs(app: FastAPI, tmp_path: Path, url: str) -> None:
    """`Afterword(app, worker=False)` runs nothing itself."""
    afterword = Afterword(app, url, worker=False)
    with TestClient(app), worker(tmp_path, url):
        job = afterword.add_task_sync(brew, "tea", 0).wait_sync(timeout=60)

    assert JobState.COMPLETED is job.state
    assert ["tea: attempt 1", "tea is ready"] == (tmp_path / "kitchen.log").read_text().splitlines()


def test_another_worker_takes_over(app: FastAPI, tmp_path: Path, url: str) -> None:
    """A worker on the same machine notices the death at once, others when the lease expires."""
    afterword = Afterword(app, url, worker=False)
    with TestClient(app), worker(tmp_path, url) as first:
        job = afterword.add_task_sync(brew, "tea", 60)
        log = tmp_path / "kitchen.log"
        wait_until(log.exists, description="the task has begun")
        first.kill()
        with worker(tmp_path, url):
            job.wait_sync(timeout=60)

    assert (JobState.COMPLETED, 2) == (job.state, job.attempt)
