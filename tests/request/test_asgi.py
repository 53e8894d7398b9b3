"""The middleware: messages, the lifespan, and cancelled requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import Message

from afterword import Afterword, JobState
from afterword.starlette import BackgroundTask, BackgroundTasks
from tests.helpers import wait_until
from tests.sites import note, noted, serving


def application(make: Any, **options: Any) -> Starlette:
    async def endpoint(request: Request) -> Response:
        response: Response = make()
        return response

    return Starlette(routes=[Route("/", endpoint)], **options)


def answer() -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(note, "ran"))


async def get(app: Starlette, path: str = "/", **scope: Any) -> list[Message]:
    """Send a request without a client; returns the messages that were sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    request = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app({**request, **scope}, receive, send)
    return sent


# ---------------------------------------------------------------------- the lifespan


def test_the_worker_lives_inside_the_applications_own_lifespan(tmp_path: Path) -> None:
    """A task never meets a pool that is not open yet, or already closed."""
    seen: list[tuple[str, bool]] = []
    site_of: list[Afterword] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append(("opened", site_of[0].started))
        yield
        seen.append(("closing", site_of[0].started))

    app = application(answer, lifespan=lifespan)
    site_of.append(Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}"))

    with TestClient(app):
        seen.append(("serving", site_of[0].started))

    assert [("opened", False), ("serving", True), ("closing", False)] == seen


def test_a_lifespan_that_fails_starts_nothing(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = application(answer, lifespan=lifespan)
    Afterword(app, f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(RuntimeError, match="no database"), TestClient(app):
        pass

    assert not (tmp_path / "new.db").exists()


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_methods(tmp_path: Path, method: str) -> None:
    with serving(application(answer), tmp_path) as site:
        response = site.client.request(method, "/")

        assert 200 == response.status_code
        assert ["ran"] == site.ran()


@pytest.mark.parametrize(
    "make",
    [
        lambda task: Response(status_code=204, background=task),
        lambda task: Response(status_code=304, background=task),
        lambda task: Response(status_code=500, background=task),
        lambda task: StreamingResponse(iter(["a"]), background=task),
        lambda task: FileResponse(__file__, background=task),
    ],
    ids=["204", "304", "500", "stream", "file"],
)
def test_background_of_every_response_is_stored(tmp_path: Path, make: Any) -> None:
    with serving(application(lambda: make(BackgroundTask(note, "ran"))), tmp_path) as site:
        site.client.get("/")

        assert ["ran"] == site.ran()
        assert [JobState.COMPLETED] == site.states()


def test_an_unconfirmed_task_is_removed_from_the_middle(tmp_path: Path) -> None:
    def make() -> Response:
        first = BackgroundTask(note, "first")
        BackgroundTask(note, "must not run")
        third = BackgroundTask(note, "third")
        return PlainTextResponse("ok", background=BackgroundTasks([first, third]))

    with serving(application(make), tmp_path) as site:
        site.client.get("/")
        wait_until(lambda: len(site.jobs()) == 2, description="the unwanted job is removed")

        assert ["first", "third"] == site.ran()


def test_an_unhandled_error_stores_nothing(tmp_path: Path) -> None:
    def make() -> Response:
        BackgroundTask(note, "must not run")
        raise RuntimeError("endpoint")

    with serving(application(make), tmp_path) as site:
        with pytest.raises(RuntimeError, match="endpoint"):
            site.client.get("/")

        assert [] == site.jobs()
        assert [] == noted


@pytest.mark.anyio
async def test_a_mounted_application_with_an_afterword_of_its_own_keeps_its_own_store(
    tmp_path: Path,
) -> None:
    """The first request starts it: servers do not run the lifespan of mounted applications."""
    inner = application(answer)
    mounted = Afterword(inner, f"sqlite:///{tmp_path / 'inner.db'}")
    outer = Starlette(routes=[Mount("/inner", inner)])
    afterword = Afterword(outer, f"sqlite:///{tmp_path / 'outer.db'}")
    await afterword.start()
    await get(outer, "/inner/", state={})
    jobs = [job.task for job in mounted.inquiries.store().find()]
    others = afterword.inquiries.store().find()
    await afterword.stop()  # the mounted one is not told

    assert ["tests.sites:note"] == jobs
    assert [] == others
    assert not mounted.started


def test_many_requests_at_the_same_time_keep_their_tasks_apart(tmp_path: Path) -> None:
    async def get_fifty(site_app: Starlette) -> None:
        await asyncio.gather(*(get(site_app) for _ in range(50)))

    app = application(answer)
    with serving(app, tmp_path) as site:
        assert site.client.portal is not None
        site.client.portal.call(get_fifty, app)

        assert ["ran"] * 50 == site.ran()
        assert 50 == len({job.request_id for job in site.jobs()})


# ---------------------------------------------------------------------- cancelled requests


def test_a_request_cancelled_while_it_stores_keeps_no_job_from_running(tmp_path: Path) -> None:
    """At any moment of the cancellation, no job stays held by this process for ever."""

    async def get_and_cancel(app: Starlette, seconds: float) -> bool:
        answered = False

        async def receive() -> Message:
            await asyncio.sleep(30)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal answered
            answered = True

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        request = asyncio.create_task(app(scope, receive, send))
        await asyncio.sleep(seconds)
        request.cancel()
        await asyncio.wait([request])
        return answered

    app = application(answer)
    with serving(app, tmp_path) as site:
        portal = site.client.portal
        assert portal is not None
        answered = [portal.call(get_and_cancel, app, step * 0.0004) for step in range(40)]

        assert True in answered
        assert set(site.states()) <= {JobState.COMPLETED}
