"""Start here: a guide to Afterword, made of tests.

Each module of this folder is a chapter, and each of its tests shows one thing. Read them from top
to bottom, in this order:

1. `test_start_here`: a task is added in a route, and runs after the response
2. `test_crashes`: a task survives the death of its process
3. `test_failures`: errors, and where to see them
4. `test_retries`: temporary errors, and time limits
5. `test_order`: several tasks of one request
6. `test_dependencies`: FastAPI's `Depends`, and Wireup
7. `test_progress`: progress, and a status API for your clients
8. `test_unique`: double clicks and repeated requests
9. `test_transactions`: a row and its job, or neither
10. `test_limits`: queues, priorities, limits and rates
11. `test_schedules`: delays and schedules
12. `test_several_hosts`: worker processes and PostgreSQL
13. `test_testing`: how to test your own tasks

`docs/` has the details. `conftest.py` has the three fixtures that most chapters use.
"""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from afterword import Afterword, JobState
from afterword.fastapi import BackgroundTasks
from afterword.starlette import BackgroundTask
from tests.helpers import wait_until

letters: list[str] = []


def write_letter(name: str) -> str:
    """Write a letter: a task is a plain function at the top of a module."""
    letters.append(name)
    return f"Dear {name}"


async def write_letter_async(name: str) -> str:
    """Write a letter: an `async def` task runs in the event loop, a `def` task in a thread."""
    return write_letter(name)


@pytest.fixture(autouse=True)
def _no_letters() -> None:
    letters.clear()


def test_a_task_runs_after_the_response(tmp_path: Path) -> None:
    """Only the import of BackgroundTasks and the line with `Afterword` are new."""
    app = FastAPI()
    Afterword(app, url=f"sqlite:///{tmp_path / 'jobs.db'}")

    @app.post("/signups/{name}")
    async def sign_up(name: str, background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(write_letter, name)
        return f"Hello {name}"

    with TestClient(app) as client:
        answer = client.post("/signups/Ann")
        wait_until(lambda: letters, description="the letter is written")

    assert "Hello Ann" == answer.json()
    assert ["Ann"] == letters


def test_a_call_becomes_a_job(app: FastAPI, afterword: Afterword) -> None:
    """`add_task` returns the job. Any process that uses the store can look it up by its id."""

    @app.post("/signups/{name}")
    async def sign_up(name: str, background_tasks: BackgroundTasks) -> str:
        return background_tasks.add_task(write_letter_async, name).id

    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/signups/Ann").json())
        assert job is not None
        job.wait_sync(timeout=60)

    assert JobState.COMPLETED is job.state
    assert "Dear Ann" == job.result
    assert f"{__name__}:write_letter_async" == job.task


def test_a_job_can_be_added_outside_of_a_request(app: FastAPI, afterword: Afterword) -> None:
    """In a coroutine, use `await afterword.add_task(write_letter, "Ann")`."""
    with TestClient(app):
        job = afterword.add_task_sync(write_letter, "Ann")
        job.wait_sync(timeout=60)

    assert "Dear Ann" == job.result


def test_starlette_puts_the_task_on_the_response(url: str) -> None:
    async def sign_up(request: Request) -> PlainTextResponse:
        letter = BackgroundTask(write_letter, request.query_params["name"])
        return PlainTextResponse("Hello", background=letter)

    app = Starlette(routes=[Route("/signups", sign_up, methods=["POST"])])
    Afterword(app, url)
    with TestClient(app) as client:
        client.post("/signups?name=Ann")
        wait_until(lambda: letters, description="the letter is written")

    assert ["Ann"] == letters


def test_a_request_that_fails_leaves_no_task(app: FastAPI, afterword: Afterword) -> None:
    @app.post("/signups/{name}")
    async def sign_up(name: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(write_letter, name)
        raise RuntimeError("no more members")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/signups/Ann")

    assert 500 == answer.status_code
    assert [] == letters


def test_wrong_arguments_raise_in_the_route(app: FastAPI, afterword: Afterword) -> None:
    """You see the mistake at once, not later in the background."""

    @app.post("/signups")
    async def sign_up(background_tasks: BackgroundTasks) -> None:
        with pytest.raises(TypeError, match="Input should be a valid string"):
            background_tasks.add_task(write_letter, 5)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="missing a required argument: 'name'"):
            background_tasks.add_task(write_letter)  # type: ignore[call-overload]

    with TestClient(app) as client:
        assert 200 == client.post("/signups").status_code


def test_a_lambda_runs_in_its_request(app: FastAPI, afterword: Afterword) -> None:
    """Another process could not find it, so it is not durable. With `strict=True` this raises.

    The same holds for arguments that cannot be stored, such as a session or a service.
    """

    @app.post("/signups/{name}")
    async def sign_up(name: str, background_tasks: BackgroundTasks) -> bool:
        return background_tasks.add_task(lambda: letters.append(name)).durable

    with TestClient(app) as client:
        durable = client.post("/signups/Ann").json()

    assert not durable
    assert ["Ann"] == letters
