"""BackgroundTask and BackgroundTasks called by hand, as Starlette allows it."""

import asyncio
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from afterword import Afterword, JobState
from afterword.request.background import BackgroundTask, BackgroundTasks
from tests.at_work import url_in
from tests.helpers import wait_until

done: list[str] = []


async def note(word: str) -> None:
    done.append(word)


async def run_now(request: Request) -> Response:
    """Run two tasks before the answer."""
    tasks = BackgroundTasks([BackgroundTask(note, "first"), BackgroundTask(note, "second")])
    await tasks()
    return JSONResponse(list(done))


async def run_one_now(request: Request) -> Response:
    """Run the first of three tasks; leave the others to the response."""
    first = BackgroundTask(note, "first")
    rest = BackgroundTasks([BackgroundTask(note, "second"), BackgroundTask(note, "third")])
    await first()
    return JSONResponse(list(done), background=rest)


def application(folder: Path) -> tuple[Starlette, Afterword]:
    done.clear()
    app = Starlette(routes=[Route("/now", run_now), Route("/one-now", run_one_now)])
    return app, Afterword(app, url=url_in(folder))


def test_tasks_that_a_handler_calls_run_there_and_then(tmp_path: Path) -> None:
    app, afterword = application(tmp_path)
    with TestClient(app) as client:
        answer = client.get("/now").json()
        counts = afterword.runtime.store.count()

    assert ["first", "second"] == answer
    assert 0 == sum(counts.values()), "they were stored, too"


def test_what_is_added_behind_such_a_task_runs_after_the_response(tmp_path: Path) -> None:
    app, afterword = application(tmp_path)
    with TestClient(app) as client:
        answer = client.get("/one-now").json()
        wait_until(lambda: len(done) == 3, description="the rest runs")
        wait_until(
            lambda: afterword.runtime.store.count()[JobState.COMPLETED] == 2,
            description="it is on record",
        )

    assert ["first"] == answer
    assert ["first", "second", "third"] == done


def test_not_started_they_run_there_and_then_as_well(tmp_path: Path) -> None:
    app, _ = application(tmp_path)

    assert ["first", "second"] == TestClient(app).get("/now").json()


async def call_outside() -> None:
    tasks = BackgroundTasks()
    job = tasks.add_task(note, "outside")

    assert not job.durable
    await tasks()


def test_outside_of_a_request_they_are_starlettes(tmp_path: Path) -> None:
    """Without a request there is no store for them: calling runs them in order."""
    done.clear()
    asyncio.run(call_outside())

    assert ["outside"] == done
