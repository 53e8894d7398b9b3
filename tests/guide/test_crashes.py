"""Crashes: once the client has its response, the task will run, even if the process dies now.

These tests start uvicorn with the application of `kitchen.py`, and kill it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import Server, running, wait_until


@pytest.fixture
def server(tmp_path: Path, url: str) -> Iterator[Server]:
    """A process that serves the application and runs its jobs."""
    server = Server("tests.guide.kitchen:app", tmp_path, environment={"AFTERWORD_URL": url})
    with running(server):
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the lines that the tasks have written."""
    path = tmp_path / "kitchen.log"
    path.touch()
    return path


def test_a_task_survives_kill_9(server: Server, log: Path) -> None:
    """The first attempt dies with its process. The next process finds the job, and tries again.

    So a task may begin more than once: write it so that this does no harm.
    """
    with server.client() as client:
        client.post("/cups/tea?seconds=60")
    wait_until(log.read_text, description="the task has begun")
    server.kill()

    server.start()
    wait_until(lambda: "ready" in log.read_text(), description="the tea is ready")

    assert ["tea: attempt 1", "tea: attempt 2", "tea is ready"] == log.read_text().splitlines()


def test_a_shutdown_lets_running_tasks_end(server: Server, log: Path) -> None:
    """A shutdown waits up to `Afterword(app, grace=...)`. Later tasks run again."""
    with server.client() as client:
        client.post("/cups/tea?seconds=0.5")
    wait_until(log.read_text, description="the task has begun")
    server.stop()

    assert ["tea: attempt 1", "tea is ready"] == log.read_text().splitlines()
