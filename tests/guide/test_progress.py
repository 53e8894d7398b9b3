"""Progress, results and cancelling: for you, and for your clients through the status API."""

import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Header, HTTPException
from fastapi.testclient import TestClient

from afterword import Afterword, JobState, current_task
from afterword.fastapi import Accepted, BackgroundTasks
from tests.helpers import wait_until

go_on = threading.Event()


@pytest.fixture(autouse=True)
def _gate() -> None:
    go_on.clear()


def resize(photos: list[str]) -> None:
    """Count with `track`; the length of the list is the total."""
    progress = current_task().progress
    for photo in progress.track(photos):
        progress.message(f"resizing {photo}")


def count(text: str) -> dict[str, int]:
    """Wait for the test, then return the job's result."""
    while not go_on.wait(0.01):
        if current_task().cancelled:  # a thread cannot be stopped: it must check this
            return {}
    return {word: text.split().count(word) for word in text.split()}


def test_a_task_reports_its_progress(app: FastAPI, afterword: Afterword) -> None:
    with TestClient(app):
        job = afterword.add_task_sync(resize, ["a.png", "b.png"])
        job.wait_sync(timeout=60)

    assert job.progress is not None
    assert (2, 2, 1.0) == (job.progress.current, job.progress.total, job.progress.ratio)
    assert "resizing b.png" == job.progress.message


def test_a_running_job_can_be_cancelled(app: FastAPI, afterword: Afterword) -> None:
    """An `async def` task gets a CancelledError; a `def` task has to check, as `count` does."""
    with TestClient(app):
        job = afterword.add_task_sync(count, "to be")
        wait_until(lambda: job.refresh_sync().state is JobState.RUNNING, description="the job runs")
        job.cancel_sync("not needed any more")
        job.wait_sync(timeout=60)

    assert (JobState.CANCELLED, "not needed any more") == (job.state, job.error)


# ---------------------------------------------------------------------- the status API


def authorize(user: str = Header("nobody")) -> None:
    """Check access: a dependency of all routes of the status API."""
    if user != "ann":
        raise HTTPException(403)


@pytest.fixture
def client(app: FastAPI, afterword: Afterword) -> Iterator[TestClient]:
    """An application that answers 202, and has the status API at /jobs."""
    app.include_router(afterword.jobs_router(authorize=authorize))

    @app.post("/counts", status_code=202, responses=Accepted.responses)
    async def order(text: str, background_tasks: BackgroundTasks) -> Accepted:
        return Accepted(background_tasks.add_task(count, text))

    with TestClient(app, headers={"user": "ann"}) as client:
        yield client
        go_on.set()


def test_a_client_follows_its_job_to_the_result(client: TestClient) -> None:
    """The `Location` of the 202 shows the state. Before the end, the result is a 409."""
    answer = client.post("/counts?text=to be or not to be")
    place = answer.headers["Location"]
    early = client.get(f"{place}/result")
    go_on.set()
    wait_until(
        lambda: client.get(place).json()["state"] == "completed", description="the job completes"
    )
    result = client.get(f"{place}/result")

    assert (202, 409, 200) == (answer.status_code, early.status_code, result.status_code)
    assert {"to": 2, "be": 2, "or": 1, "not": 1} == result.json()


def test_a_client_cancels_its_job(client: TestClient) -> None:
    place = client.post("/counts?text=to be").headers["Location"]
    client.delete(place)
    wait_until(
        lambda: client.get(place).json()["state"] == "cancelled", description="it is cancelled"
    )

    assert 410 == client.get(f"{place}/result").status_code


def test_you_decide_who_may_ask(client: TestClient) -> None:
    """Knowing the id of a job does not give access to it."""
    place = client.post("/counts?text=to be").headers["Location"]

    assert 403 == client.get(place, headers={"user": "bob"}).status_code
