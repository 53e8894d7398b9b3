"""Starlette's promises for background tasks, tested on ours.

With Starlette's import changed, as raw ASGI applications without Afterword, and as
routes of an application that has it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from afterword import JobState
from afterword.starlette import BackgroundTask, BackgroundTasks
from tests.sites import fail, note, note_async, noted, serving

BOTH = pytest.mark.parametrize("started", [True, False], ids=["started", "bare"])
EITHER_KIND = pytest.mark.parametrize("func", [note, note_async], ids=["def", "async def"])

Make = Callable[[], BackgroundTask]


def several() -> BackgroundTasks:
    tasks = BackgroundTasks()
    tasks.add_task(note, text="first")
    tasks.add_task(note_async, text="second")
    tasks.add_task(note, text="third")
    return tasks


def failing() -> BackgroundTasks:
    tasks = BackgroundTasks()
    tasks.add_task(fail, "failed")
    tasks.add_task(note, "must not run")
    return tasks


def raw(make: Make) -> TestClient:
    """Make an ASGI application of three lines."""
    noted.clear()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = Response("initiated", media_type="text/plain", background=make())
        await response(scope, receive, send)

    return TestClient(app)


def routed(make: Make) -> Starlette:
    def endpoint(request: Request) -> Response:
        return PlainTextResponse("initiated", background=make())

    return Starlette(routes=[Route("/", endpoint)])


@EITHER_KIND
def test_one_task(func: Callable[[str], object]) -> None:
    response = raw(lambda: BackgroundTask(func, "ran")).get("/")

    assert "initiated" == response.text
    assert ["ran"] == noted


@BOTH
@EITHER_KIND
def test_one_task_of_a_route(tmp_path: Path, started: bool, func: Callable[[str], object]) -> None:
    with serving(routed(lambda: BackgroundTask(func, "ran")), tmp_path, started=started) as site:
        response = site.client.get("/")

        assert "initiated" == response.text
        assert ["ran"] == site.ran()
        assert [JobState.COMPLETED] * started == site.states()


def test_a_task_made_before_any_request_serves_every_request() -> None:
    task = BackgroundTask(note, "ran")
    client = raw(lambda: task)
    client.get("/")
    client.get("/")

    assert ["ran", "ran"] == noted


@BOTH
def test_a_task_made_before_any_request_runs_where_starlette_runs_it(
    tmp_path: Path, started: bool
) -> None:
    """It belongs to no request, so it cannot be stored with one."""
    task = BackgroundTask(note, "ran")
    with serving(routed(lambda: task), tmp_path, started=started) as site:
        site.client.get("/")
        site.client.get("/")

        assert ["ran", "ran"] == site.ran()


def test_several_tasks() -> None:
    response = raw(several).get("/")

    assert "initiated" == response.text
    assert ["first", "second", "third"] == noted


@BOTH
def test_several_tasks_of_a_route(tmp_path: Path, started: bool) -> None:
    with serving(routed(several), tmp_path, started=started) as site:
        site.client.get("/")

        assert ["first", "second", "third"] == site.ran()


def test_a_failure_keeps_the_next_from_running() -> None:
    client = raw(failing)

    with pytest.raises(RuntimeError, match="failed"):
        client.get("/")

    assert ["failed"] == noted


def test_a_failure_in_a_bare_application_reaches_the_client(tmp_path: Path) -> None:
    with serving(routed(failing), tmp_path, started=False) as site:
        with pytest.raises(RuntimeError, match="failed"):
            site.client.get("/")

        assert ["failed"] == noted


def test_a_failure_in_a_started_application_is_on_record(tmp_path: Path) -> None:
    with serving(routed(failing), tmp_path) as site:
        response = site.client.get("/")

        assert "initiated" == response.text
        assert ["failed"] == site.ran()
        assert [JobState.FAILED, JobState.CANCELLED] == site.states()
