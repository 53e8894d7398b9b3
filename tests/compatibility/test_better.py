"""Intended differences from FastAPI's own tasks: each mends a known problem."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
import httpx
import pytest
from fastapi import Depends, FastAPI, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.types import ASGIApp, Receive, Scope, Send

from afterword import JobState
from afterword.errors import ArgumentError
from afterword.fastapi import BackgroundTask, BackgroundTasks
from tests.compatibility.conftest import Serve
from tests.helpers import Server, running, wait_until
from tests.sites import note, noted

SERVED = """
import asyncio
from pathlib import Path
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app, "sqlite:///jobs.db")
ran = Path("ran.txt")

async def pass_on(request, call_next):
    return await call_next(request)

app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

def note(text: str) -> None:
    with ran.open("a") as file:
        print(text, file=file)

def fail() -> None:
    note("failed")
    raise RuntimeError("task")

async def wait_for(name: str) -> None:
    note("waiting")
    while not Path(name).exists():
        await asyncio.sleep(0.01)

@app.get("/fail")
def failing(background_tasks: BackgroundTasks):
    background_tasks.add_task(fail)

@app.get("/wait")
def waiting(background_tasks: BackgroundTasks):
    background_tasks.add_task(wait_for, "go")

@app.get("/ok")
def ok():
    return "ok"

@app.get("/stream")
async def stream(background_tasks: BackgroundTasks):
    async def body():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)
    background_tasks.add_task(note, "streamed")
    return StreamingResponse(body())
"""


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real uvicorn that allows at most three connections and tasks together."""
    (tmp_path / "served.py").write_text(SERVED)
    (tmp_path / "ran.txt").touch()
    with running(Server("served:app", tmp_path, arguments=("--limit-concurrency", "3"))) as server:
        yield server


def test_a_failing_task_does_not_close_the_connection(server: Server, tmp_path: Path) -> None:
    """It is not in the server's log as an error of the application either."""
    with server.client() as client:
        first = _own_address(client.get("/fail"))
        wait_until((tmp_path / "ran.txt").read_text, description="the task ran")
        second = _own_address(client.get("/ok"))

    assert first == second
    assert "Exception in ASGI application" not in server.log.read_text()


def _own_address(response: httpx.Response) -> object:
    """Return the client's end of the connection: another port is another connection."""
    return response.extensions["network_stream"].get_extra_info("client_addr")


def test_a_stream_whose_client_went_away_keeps_its_tasks(server: Server, tmp_path: Path) -> None:
    with server.client() as client, client.stream("GET", "/stream") as response:
        assert next(response.iter_raw())

    wait_until(lambda: "streamed" in (tmp_path / "ran.txt").read_text(), description="the task ran")


def test_running_tasks_do_not_count_as_connections(server: Server, tmp_path: Path) -> None:
    """With FastAPI's own tasks, `--limit-concurrency` answers 503 when they pile up."""
    statuses = [httpx.get(f"{server.url}/wait", timeout=60).status_code for _ in range(6)]
    wait_until(
        lambda: (tmp_path / "ran.txt").read_text().count("waiting") == 6,
        description="six tasks run at the same time",
    )
    statuses.append(httpx.get(f"{server.url}/ok", timeout=60).status_code)
    (tmp_path / "go").touch()

    assert [200] * 7 == statuses


def test_own_response_with_background_loses_no_injected_task(app: FastAPI, serve: Serve) -> None:
    def inject(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "injected")

    @app.get("/", dependencies=[Depends(inject)])
    def handler() -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(note, "own"))

    site = serve(app)
    site.client.get("/")

    assert ["injected", "own"] == site.ran()


def test_injected_tasks_on_an_own_response_run_once(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> Response:
        background_tasks.add_task(note, "ran")
        return PlainTextResponse("ok", background=background_tasks)

    site = serve(app)
    site.client.get("/")

    assert ["ran"] == site.ran()


def test_under_two_base_http_middlewares(app: FastAPI, serve: Serve) -> None:
    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "first")
        background_tasks.add_task(note, "second")

    site = serve(app)
    site.client.get("/")

    assert ["first", "second"] == site.ran()


class Timeout:
    """A middleware that gives up on the application while it streams, or before it answers."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await asyncio.wait_for(self.app(scope, receive, watch), self.seconds)
        except TimeoutError:
            if not started:
                await PlainTextResponse("timeout", status_code=504)(scope, receive, send)
            else:
                await send({"type": "http.response.body", "body": b""})


def test_tasks_run_although_a_middleware_cuts_the_response_off(
    app: FastAPI, serve_started: Serve
) -> None:
    app.add_middleware(Timeout, seconds=0.2)

    async def body() -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(30)

    @app.get("/", response_model=None)
    def handler(background_tasks: BackgroundTasks) -> StreamingResponse:
        background_tasks.add_task(note, "ran")
        return StreamingResponse(body())

    site = serve_started(app)
    response = site.client.get("/")

    assert "begun" == response.text
    assert ["ran"] == site.ran()


def test_nothing_is_stored_of_a_handler_that_timed_out(app: FastAPI, serve_started: Serve) -> None:
    app.add_middleware(Timeout, seconds=0.2)

    @app.get("/")
    async def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "must not run")
        await asyncio.sleep(30)

    site = serve_started(app)
    response = site.client.get("/")

    assert 504 == response.status_code
    assert [] == site.ran()
    assert [] == site.jobs()


_busy = threading.Barrier(60)


def meet() -> None:
    _busy.wait(60)


def test_def_tasks_do_not_use_the_threads_of_def_endpoints(
    app: FastAPI, serve_started: Serve
) -> None:
    """Sixty run at the same time; FastAPI's share forty threads with endpoints."""

    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(meet)

    @app.get("/borrowed")
    async def borrowed() -> float:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens

    site = serve_started(app, concurrency=60)
    for _ in range(59):
        site.client.get("/")
    wait_until(lambda: _busy.n_waiting == 59, description="59 tasks wait for the last one")
    borrowed_by_tasks = site.client.get("/borrowed").json()
    site.client.get("/")

    assert 0 == borrowed_by_tasks
    assert {JobState.COMPLETED} == set(site.states())


def returns_a_coroutine(text: str) -> Awaitable[None]:
    return note_later(text)


async def note_later(text: str) -> None:
    await asyncio.sleep(0)
    noted.append(text)


@functools.wraps(note_later)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return note_later(*args, **kwargs)


@pytest.mark.parametrize("func", [returns_a_coroutine, wrapped])
def test_what_a_def_task_returns_is_awaited(
    app: FastAPI, serve: Serve, func: Callable[[str], Any]
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(func, "awaited")

    site = serve(app)
    site.client.get("/")

    assert ["awaited"] == site.ran()


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: note_later("x"), "correct!"),
        (lambda: generator, "generator"),
        (lambda: async_generator, "generator"),
        (lambda: "note", "Pass the function"),
    ],
    ids=["coroutine", "generator", "async generator", "name"],
)
def test_what_could_never_run_is_refused_where_it_is_added(
    app: FastAPI, serve: Serve, make: Callable[[], Any], message: str
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(make())

    site = serve(app)

    with pytest.raises(TypeError, match=message):
        site.client.get("/")


def test_wrong_arguments_are_refused_where_they_are_added(
    app: FastAPI, serve_started: Serve
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note)  # type: ignore[call-overload]

    site = serve_started(app)

    with pytest.raises(ArgumentError, match="'text'"):
        site.client.get("/")


def process(upload: UploadFile) -> None:
    raise AssertionError("must not run")


def test_an_upload_is_refused_with_the_lines_that_keep_it(app: FastAPI, serve: Serve) -> None:
    @app.post("/")
    def handler(upload: UploadFile, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(process, upload)

    site = serve(app)

    with pytest.raises(TypeError, match=r"path\.write_bytes\(await file\.read\(\)\)"):
        site.client.post("/", files={"upload": b"content"})


def size_of(path: Path) -> None:
    noted.append(f"{path.stat().st_size} bytes")


def test_an_upload_saved_as_the_message_says_reaches_the_task(
    app: FastAPI, serve: Serve, tmp_path: Path
) -> None:
    @app.post("/")
    async def handler(upload: UploadFile, background_tasks: BackgroundTasks) -> None:
        path = tmp_path / "upload"
        path.write_bytes(await upload.read())
        background_tasks.add_task(size_of, path)

    site = serve(app)
    site.client.post("/", files={"upload": b"content"})

    assert ["7 bytes"] == site.ran()


def test_dependencies_are_not_open_while_tasks_run(app: FastAPI, serve_started: Serve) -> None:
    open_ones: list[str] = []

    def resource() -> Iterator[str]:
        open_ones.append("resource")
        yield "resource"
        open_ones.remove("resource")

    @app.get("/")
    def handler(_: Annotated[str, Depends(resource)], background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(take_hold)

    _release.clear()
    site = serve_started(app)
    site.client.get("/")
    wait_until(lambda: noted, description="the task runs")
    during = list(open_ones)
    _release.set()

    assert [] == during
    assert [JobState.COMPLETED] == site.states()


_release = threading.Event()


def take_hold() -> None:
    noted.append("running")
    _release.wait(60)
