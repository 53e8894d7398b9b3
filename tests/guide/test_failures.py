"""Failures and where to see them: the job keeps the error, and the command line finds the job."""

import sys
from contextlib import closing
from pathlib import Path

import apsw
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, JobState
from afterword.fastapi import BackgroundTasks
from tests import warm

machine = {"broken": False}


def brew(cup: str) -> str:
    if machine["broken"]:
        raise RuntimeError("the machine is broken")
    return f"{cup} is ready"


def command(*arguments: str, url: str) -> str:
    """Return the output of a command; it needs the store, but not the application."""
    line = [sys.executable, "-m", "afterword", *arguments, "--url", url]
    return warm.run(line, capture_output=True, text=True, check=True).stdout


def test_a_failed_job_keeps_its_error(app: FastAPI, afterword: Afterword) -> None:
    """Neither the server nor the client sees the exception, but the log does."""
    machine["broken"] = True
    with TestClient(app):
        job = afterword.add_task_sync(brew, "tea").wait_sync(timeout=60)

    assert JobState.FAILED is job.state
    assert job.error is not None
    assert "RuntimeError: the machine is broken" in job.error


def test_the_command_line_shows_and_retries(app: FastAPI, afterword: Afterword, url: str) -> None:
    """Once the cause is mended, `afterword retry` runs failed jobs again."""
    machine["broken"] = True
    with TestClient(app):
        job = afterword.add_task_sync(brew, "tea").wait_sync(timeout=60)
        failures = command("failures", url=url)
        machine["broken"] = False
        command("retry", job.id, url=url)
        job.wait_sync(timeout=60)

    assert "RuntimeError: the machine is broken" in failures
    assert (JobState.COMPLETED, 2, "tea is ready") == (job.state, job.attempt, job.result)


def test_a_request_that_cannot_be_stored_is_answered_with_503(app: FastAPI, tmp_path: Path) -> None:
    """The client was promised nothing, and can try again."""
    Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}", store_timeout=1.0)

    @app.post("/cups/{cup}")
    async def order(cup: str, background_tasks: BackgroundTasks) -> str:
        return background_tasks.add_task(brew, cup).id

    with TestClient(app) as client:
        with closing(apsw.Connection(str(tmp_path / "jobs.db"))) as other_program:
            other_program.set_busy_timeout(60_000)  # Afterword may be writing just now
            other_program.execute("BEGIN IMMEDIATE")  # locks the store
            refused = client.post("/cups/tea")
        accepted = client.post("/cups/tea")

    assert (503, 200) == (refused.status_code, accepted.status_code)
    assert "Retry-After" in refused.headers
