"""Failures of the store: the client gets a 503, nothing is stored, dependencies roll back."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import apsw
import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from afterword import starlette as afterword_starlette
from afterword.errors import StoreUnavailable
from afterword.fastapi import BackgroundTasks
from tests.compatibility.conftest import Serve
from tests.compatibility.versions import EXITS_AFTER_RESPONSE
from tests.sites import note, noted, serving

TIMEOUT: dict[str, Any] = {"store_timeout": 0.1}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the write lock, as another process in a long transaction would."""
    connection = apsw.Connection(str(folder / "jobs.db"))
    connection.set_busy_timeout(10_000)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    @app.get("/nothing")
    def nothing(background_tasks: BackgroundTasks) -> str:
        return "ok"

    return app


def test_a_request_that_cannot_be_stored_is_answered_with_503(
    app: FastAPI, serve_started: Serve, tmp_path: Path
) -> None:
    site = serve_started(app, **TIMEOUT)
    with locked(tmp_path):
        response = site.client.get("/")

    assert 503 == response.status_code
    assert "1" == response.headers["retry-after"]
    assert "could not be stored" in response.json()["detail"]
    assert [] == site.ran()
    assert [] == site.jobs()


def test_the_next_request_is_stored_again(
    app: FastAPI, serve_started: Serve, tmp_path: Path
) -> None:
    site = serve_started(app, **TIMEOUT)
    with locked(tmp_path):
        refused = site.client.get("/")
    response = None
    while response is None or response.status_code == 503:  # the store's thread may still wait
        response = site.client.get("/")

    assert 503 == refused.status_code
    assert ["ran"] == site.ran()


def test_a_request_without_tasks_does_not_need_the_store(
    app: FastAPI, serve_started: Serve, tmp_path: Path
) -> None:
    site = serve_started(app, **TIMEOUT)
    with locked(tmp_path):
        response = site.client.get("/nothing")

    assert "ok" == response.json()


@pytest.mark.skipif(not EXITS_AFTER_RESPONSE, reason="exits before the response in this FastAPI")
def test_dependencies_see_the_error_and_roll_back(
    app: FastAPI, serve_started: Serve, tmp_path: Path
) -> None:
    ends: list[str] = []

    def session() -> Iterator[None]:
        try:
            yield
        except Exception:
            ends.append("rollback")
            raise
        ends.append("commit")

    @app.get("/session")
    def handler(_: Annotated[None, Depends(session)], background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    site = serve_started(app, **TIMEOUT)
    with locked(tmp_path):
        response = site.client.get("/session")

    assert 503 == response.status_code
    assert ["rollback"] == ends
    assert [] == site.ran()


def test_a_starlette_response_is_refused_as_well(serve_started: Serve, tmp_path: Path) -> None:
    def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok", background=afterword_starlette.BackgroundTask(note, "ran"))

    site = serve_started(Starlette(routes=[Route("/", endpoint)]), **TIMEOUT)
    with locked(tmp_path):
        response = site.client.get("/")

    assert 503 == response.status_code
    assert [] == site.ran()


def test_a_websocket_is_closed_with_try_again_later(
    app: FastAPI, serve_started: Serve, tmp_path: Path
) -> None:
    @app.websocket("/talk")
    async def talk(websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")
        await websocket.accept()

    site = serve_started(app, **TIMEOUT)
    with (
        locked(tmp_path),
        pytest.raises(WebSocketDisconnect) as closed,
        site.client.websocket_connect("/talk"),
    ):
        pass

    assert 1013 == closed.value.code
    assert [] == site.ran()


def test_a_full_disk_is_answered_with_503(app: FastAPI, tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk, serving(app, disk) as site:
        fill(disk)
        response = site.client.get("/")
        (disk / "ballast").unlink()

        assert 503 == response.status_code
        assert [] == noted


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    try:
        with (disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError:
        return  # full


async def swallow(request: Request) -> Response:
    """Answer as an ASGI application, and ignore that this failed."""
    afterword_starlette.BackgroundTask(note, "ran")
    return SwallowingResponse("ok")


async def answer_instead(request: Request) -> Response:
    """Send another answer when the first one failed."""
    afterword_starlette.BackgroundTask(note, "ran")
    return InsteadResponse("ok")


class SwallowingResponse(PlainTextResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(StoreUnavailable):
            await super().__call__(scope, receive, send)


class InsteadResponse(PlainTextResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except StoreUnavailable:
            await PlainTextResponse("later", 507)(scope, receive, send)


@pytest.mark.parametrize(
    ("endpoint", "status"), [(swallow, 503), (answer_instead, 507)], ids=["swallows", "answers"]
)
def test_the_client_gets_one_answer_whatever_the_application_makes_of_it(
    endpoint: Any, status: int, serve_started: Serve, tmp_path: Path
) -> None:
    site = serve_started(Starlette(routes=[Route("/", endpoint)]), **TIMEOUT)
    with locked(tmp_path):
        response = site.client.get("/")

    assert status == response.status_code
    assert [] == site.ran()
    assert [] == site.jobs()
