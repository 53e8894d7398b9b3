"""Tests of your own tasks: with your real application, and with a real store."""

import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword
from afterword.fastapi import BackgroundTasks
from tests import warm

APPLICATION = """
from fastapi import FastAPI
from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app)
letters = []

def write_letter(name: str) -> None:
    letters.append(name)

@app.post("/signups/{name}")
async def sign_up(name: str, background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(write_letter, name)
"""

TEST = """
from fastapi.testclient import TestClient
from main import app, letters

def test_signing_up_writes_a_letter():
    with TestClient(app) as client:
        client.post("/signups/Ann")

    assert ["Ann"] == letters
"""


HOLDING_TEST = """
from fastapi.testclient import TestClient
from main import app, letters, write_letter

def test_signing_up_orders_a_letter(jobs):
    TestClient(app).post("/signups/Ann")

    assert jobs.added(write_letter, name="Ann")
    assert [] == letters
    jobs.run()
    assert ["Ann"] == letters
"""


def fail() -> None:
    raise RuntimeError("the printer is on fire")


@pytest.mark.parametrize("test", [TEST, HOLDING_TEST], ids=["waits", "holds"])
def test_under_pytest_a_request_waits_for_its_tasks(test: str, tmp_path: Path) -> None:
    """The package includes a pytest plugin: your tests need neither waiting nor files.

    With its fixture `jobs`, the test looks at the jobs first, and then runs them.
    """
    (tmp_path / "main.py").write_text(APPLICATION)
    (tmp_path / "test_main.py").write_text(test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:hypothesispytest",
    ]
    result = warm.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 passed" in result.stdout
    assert [] == list(tmp_path.glob("*.db"))


def test_without_the_lifespan_tasks_run_in_their_request(
    app: FastAPI, afterword: Afterword
) -> None:
    """A bare `TestClient(app)` starts no worker. As with FastAPI, errors reach the test."""

    @app.post("/letters")
    async def write(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(fail)

    with pytest.raises(RuntimeError, match="the printer is on fire"):
        TestClient(app).post("/letters")
