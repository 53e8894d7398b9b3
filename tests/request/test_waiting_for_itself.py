"""Calls that would wait for themselves, or for ever: an error at once, or an end in time."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from afterword import Afterword, Job
from afterword.errors import WouldBlock
from afterword.fastapi import BackgroundTasks
from tests.life.site import note, seen
from tests.request.gates import request, started, status_of

pytestmark = pytest.mark.anyio

CORRECT = r"await afterword\.add_task\(func\); await job\.wait\(\)  # correct!"


async def test_a_request_cannot_wait_for_a_job_that_it_holds(store_url: str) -> None:
    """This holds for `async def` and `def` routes, before and after the job is stored."""
    app = FastAPI()
    afterword = Afterword(app, store_url)

    @app.post("/async")
    async def wait(background_tasks: BackgroundTasks) -> None:
        job = background_tasks.add_task(note, "x")
        with pytest.raises(WouldBlock, match=CORRECT):
            await job.wait()
        with pytest.raises(WouldBlock, match=CORRECT):
            await job.wait(timeout=1)

    @app.post("/sync")
    def wait_sync(background_tasks: BackgroundTasks) -> None:
        with pytest.raises(WouldBlock, match=CORRECT):
            background_tasks.add_task(note, "x").wait_sync()

    async with started(afterword):
        statuses = [
            status_of(await asyncio.wait_for(request(app, path), 20))
            for path in ("/async", "/sync")
        ]

    assert [200, 200] == statuses
    assert ["x", "x"] == seen


async def test_when_the_request_is_over_the_job_can_be_waited_for(file_url: str) -> None:
    app = FastAPI()
    afterword = Afterword(app, file_url)
    jobs: list[Job[Any]] = []

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        jobs.append(background_tasks.add_task(note, "x"))

    async with started(afterword):
        await request(app)
        result = (await jobs[0].wait(60)).result

    assert "x" == result


@pytest.mark.parametrize("options", [{"delay": 3600}, {"queue": "served_by_nobody"}])
async def test_a_call_that_runs_in_the_request_waits_for_nothing_that_does_not_start(
    options: Any, file_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The request ends, and so does the application."""
    monkeypatch.setattr("afterword.request.inline.PATIENCE", 0.2)
    app = FastAPI()
    afterword = Afterword(app, file_url)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        background_tasks.options(**options).add_task(note, "later")
        background_tasks.add_task(lambda: note("here"))

    async with started(afterword):
        sent = await asyncio.wait_for(request(app), 20)

    assert 200 == status_of(sent)
    assert ["here"] == seen
    assert "out_of_order" in caplog.text
