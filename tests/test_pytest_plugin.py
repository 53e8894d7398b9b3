"""Under the pytest plugin a request waits for its tasks; tested in a pytest of its own."""

import subprocess
import sys
from pathlib import Path

APPLICATION = """
import asyncio
import time

from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app)
done = []


async def slow(number: int) -> None:
    await asyncio.sleep(0.2)
    done.append(number)


def blocking(number: int) -> None:
    time.sleep(0.2)
    done.append(number)


def fail() -> None:
    raise ValueError("boom")


@app.post("/tasks")
async def tasks(background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(slow, 1)
    background_tasks.add_task(blocking, 2)
    return background_tasks.add_task(slow, 3).id


@app.post("/failing")
async def failing(background_tasks: BackgroundTasks) -> str:
    return background_tasks.add_task(fail).id
"""

TESTS = """
import asyncio
import os

from fastapi.testclient import TestClient

import application


def test_requests_wait_for_their_tasks():
    application.done.clear()
    with TestClient(application.app) as client:
        client.post("/tasks")

        assert [1, 2, 3] == application.done


def test_not_started_they_run_in_the_request():
    application.done.clear()
    TestClient(application.app).post("/tasks")

    assert [1, 2, 3] == application.done


def test_a_failed_task_does_not_fail_its_request():
    with TestClient(application.app) as client:
        response = client.post("/failing")
        job = client.portal.call(application.afterword.job, response.json())

    assert 200 == response.status_code
    assert "failed" == job.state


def test_jobs_are_kept_out_of_the_working_directory():
    assert "afterword-" in os.environ["AFTERWORD_URL"]
    assert [] == [name for name in os.listdir() if name.endswith(".db")]
"""


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "application.py").write_text(APPLICATION)
    (folder / "test_application.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_plugin_is_found_and_requests_wait(tmp_path: Path) -> None:
    """Installing Afterword is enough: pytest finds the plugin by its entry point."""
    result = run_pytest(tmp_path)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert "4 passed" in result.stdout


def test_without_it_requests_do_not_wait(tmp_path: Path) -> None:
    """`-p no:afterword` leaves applications as they are in production."""
    result = run_pytest(tmp_path, "-p", "no:afterword", "-k", "wait_for_their_tasks")

    assert 1 == result.returncode, result.stdout + result.stderr
    assert "1 failed" in result.stdout
