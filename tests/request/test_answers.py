"""Jobs in answers: as `background`, as a route's return value, and on no response."""

from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from afterword import Afterword, Job
from afterword.fastapi import BackgroundTasks
from afterword.starlette import BackgroundTasks as ByHand
from tests.helpers import wait_until
from tests.life.site import note, seen


@pytest.mark.parametrize("started", [True, False], ids=["started", "bare"])
@pytest.mark.parametrize("storable", [True, False], ids=["storable", "unstorable"])
def test_a_job_may_be_the_background_of_a_response(
    started: bool, storable: bool, file_url: str
) -> None:
    """FastAPI's `add_task` returns None, so that line works, and must go on working."""
    app = FastAPI()
    Afterword(app, file_url)

    @app.get("/")
    async def route(background_tasks: BackgroundTasks) -> Response:
        func: Any = note if storable else lambda text: note(text)  # noqa: PLW0108
        job: Any = background_tasks.add_task(func, "x")
        return Response("ok", background=job)

    client = TestClient(app)
    if started:
        with client:
            answer = client.get("/")
            wait_until(lambda: seen, description="it has run")
    else:
        answer = client.get("/")

    assert (200, "ok") == (answer.status_code, answer.text)
    assert ["x"] == seen


def test_a_route_may_return_a_job(file_url: str) -> None:
    app = FastAPI()
    Afterword(app, file_url)
    ids: list[str] = []

    def add(background_tasks: BackgroundTasks) -> Job[str]:
        job = background_tasks.add_task(note, "x")
        ids.append(job.id)
        return job

    @app.post("/plain")
    async def plain(background_tasks: BackgroundTasks):  # type: ignore[no-untyped-def]
        return add(background_tasks)

    @app.post("/nested")
    async def nested(background_tasks: BackgroundTasks):  # type: ignore[no-untyped-def]
        return {"job": add(background_tasks)}

    @app.post("/annotated")
    async def annotated(background_tasks: BackgroundTasks) -> Job[str]:
        return add(background_tasks)

    with TestClient(app) as client:
        answers = [client.post(path).json() for path in ("/plain", "/nested", "/annotated")]
        schema = client.get("/openapi.json").json()

    told = [{"id": job_id, "state": "queued"} for job_id in ids]
    assert [told[0], {"job": told[1]}, told[2]] == answers
    answer = schema["paths"]["/annotated"]["post"]["responses"]["200"]["content"]
    properties = answer["application/json"]["schema"]["properties"]
    assert ["id", "state"] == sorted(properties)


def test_a_route_may_return_a_job_in_a_dict_of_anything(file_url: str) -> None:
    app = FastAPI()
    Afterword(app, file_url)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> dict[str, Any]:
        return {"job": background_tasks.add_task(note, "x")}

    with TestClient(app) as client:
        answer = client.post("/").json()

    assert ["id", "state"] == sorted(answer["job"])


def test_tasks_made_by_hand_and_put_on_nothing_are_warned_of(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    afterword = Afterword(app, file_url)

    @app.post("/")
    async def route() -> None:
        ByHand().add_task(note, "must not run")

    with TestClient(app) as client:
        client.post("/")
        wait_until(lambda: not afterword.inquiries.store().find(), description="it is removed")

    assert [] == seen
    assert "never_confirmed task=tests.life.site:note" in caplog.text
