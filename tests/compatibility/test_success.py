"""Requests that raised store nothing; those that answered, with any status, keep their tasks."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketException
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.websockets import WebSocketDisconnect

from afterword.fastapi import BackgroundTask, BackgroundTasks
from tests.compatibility.conftest import Serve
from tests.compatibility.versions import HAS_FUNCTION_SCOPE
from tests.helpers import wait_until
from tests.sites import Site, note, noted

FUNCTION_SCOPE: dict[str, Any] = {"scope": "function"} if HAS_FUNCTION_SCOPE else {}


class CustomError(Exception):
    """An error with an exception handler in the applications below."""


def add_one(background_tasks: BackgroundTasks) -> None:
    """Add a task in a dependency, before anything can fail."""
    background_tasks.add_task(note, "must not run")


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()

    @app.exception_handler(CustomError)
    def handle(request: Request, error: CustomError) -> JSONResponse:
        return JSONResponse({"handled": True}, status_code=418)

    return app


@pytest.fixture
def status_of(app: FastAPI, serve: Serve) -> Callable[[], tuple[int, Site]]:
    """Serve the application and get /; returns the status."""

    def get() -> tuple[int, Site]:
        site = serve(app, raise_server_exceptions=False)
        return site.client.get("/").status_code, site

    return get


def nothing_is_left(site: Site) -> bool:
    """Return True if no job is stored and nothing ran; unconfirmed jobs are removed soon."""
    wait_until(lambda: not site.jobs(), description="no job is stored")
    return not noted


# ---------------------------------------------------------------------- raised: dropped

Get = Callable[[], tuple[int, Site]]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(HTTPException(404), 404), (CustomError(), 418), (RuntimeError("handler"), 500)],
    ids=["HTTPException", "custom exception", "unhandled"],
)
def test_an_error_in_the_handler_drops_the_tasks(
    app: FastAPI, status_of: Get, error: Exception, expected: int
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "must not run")
        raise error

    status, site = status_of()

    assert expected == status
    assert nothing_is_left(site)


def test_a_handler_error_reaches_the_client_that_asks_for_it(app: FastAPI, serve: Serve) -> None:
    @app.get("/", dependencies=[Depends(add_one)])
    def handler() -> None:
        raise RuntimeError("handler")

    site = serve(app)

    with pytest.raises(RuntimeError, match="handler"):
        site.client.get("/")

    assert nothing_is_left(site)


def test_an_invalid_request_drops_the_tasks_of_its_dependencies(
    app: FastAPI, status_of: Get
) -> None:
    @app.get("/", dependencies=[Depends(add_one)])
    def handler(required: int) -> None: ...

    status, site = status_of()

    assert 422 == status
    assert nothing_is_left(site)


def test_an_invalid_response_drops_the_tasks(app: FastAPI, status_of: Get) -> None:
    @app.get("/", response_model=int)
    def handler(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, "must not run")
        return "not an int"

    status, site = status_of()

    assert 500 == status
    assert nothing_is_left(site)


def test_a_dependency_that_raises_drops_the_tasks_of_those_before(
    app: FastAPI, status_of: Get
) -> None:
    def refuse() -> None:
        raise HTTPException(403)

    @app.get("/", dependencies=[Depends(add_one), Depends(refuse)])
    def handler() -> None: ...

    status, site = status_of()

    assert 403 == status
    assert nothing_is_left(site)


@pytest.mark.skipif(not HAS_FUNCTION_SCOPE, reason="this FastAPI has no Depends(scope=)")
@pytest.mark.parametrize(
    ("error", "expected"),
    [(HTTPException(409), 409), (CustomError(), 418), (RuntimeError("commit"), 500)],
    ids=["HTTPException", "custom exception", "unhandled"],
)
@pytest.mark.parametrize("first", ["the session", "the tasks"])
def test_a_failing_function_scope_exit_drops_the_tasks(
    app: FastAPI, status_of: Get, error: Exception, expected: int, first: str
) -> None:
    """In such an exit sessions commit."""

    def session() -> Iterator[None]:
        yield
        raise error

    Opened = Annotated[None, Depends(session, **FUNCTION_SCOPE)]  # noqa: N806
    Added = Annotated[None, Depends(add_one)]  # noqa: N806

    if first == "the session":

        @app.get("/")
        def handler(session: Opened, added: Added) -> None: ...
    else:

        @app.get("/")
        def handler_too(added: Added, session: Opened) -> None: ...

    status, site = status_of()

    assert expected == status
    assert nothing_is_left(site)


def test_background_of_a_response_that_was_never_sent_is_discarded(
    app: FastAPI, status_of: Get
) -> None:
    @app.get("/")
    def handler() -> None:
        PlainTextResponse("never sent", background=BackgroundTask(note, "must not run"))
        raise HTTPException(404)

    status, site = status_of()

    assert 404 == status
    assert nothing_is_left(site)


def test_a_task_that_no_response_was_given_is_discarded(app: FastAPI, status_of: Get) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        BackgroundTask(note, "forgotten")
        background_tasks.add_task(note, "ran")

    _, site = status_of()

    wait_until(lambda: len(site.jobs()) == site.started, description="one job is left")

    assert ["ran"] == site.ran()


def test_a_refused_websocket_drops_the_tasks(app: FastAPI, serve: Serve) -> None:
    @app.websocket("/")
    async def talk(websocket: WebSocket, _: Annotated[None, Depends(add_one)]) -> None:
        raise WebSocketException(1008)

    site = serve(app)

    with (
        pytest.raises(WebSocketDisconnect),
        site.client.websocket_connect("/"),
    ):
        pass

    assert nothing_is_left(site)


# ---------------------------------------------------------------------- answered: kept


def made_by(make: Callable[[], Any], app: FastAPI, **options: Any) -> None:
    """Make a route that adds a task and answers with the result of `make`."""

    @app.get("/", response_model=None, **options)
    def handler(background_tasks: BackgroundTasks) -> Any:
        background_tasks.add_task(note, "ran")
        return make()


@pytest.mark.parametrize("code", [304, 400, 404, 500, 503])
def test_a_returned_error_status_keeps_the_tasks(app: FastAPI, status_of: Get, code: int) -> None:
    made_by(lambda: Response(status_code=code), app)
    status, site = status_of()

    assert code == status
    assert ["ran"] == site.ran()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileResponse(__file__),
        lambda: StreamingResponse(iter(["a", "b"])),
        lambda: RedirectResponse("/elsewhere"),
        lambda: JSONResponse([]),
    ],
    ids=["FileResponse", "StreamingResponse", "RedirectResponse", "JSONResponse"],
)
def test_every_kind_of_response_keeps_the_tasks(
    app: FastAPI, serve: Serve, make: Callable[[], Response]
) -> None:
    made_by(make, app)
    site = serve(app)
    site.client.get("/", follow_redirects=False)

    assert ["ran"] == site.ran()


def test_an_answer_without_a_body_keeps_the_tasks(app: FastAPI, status_of: Get) -> None:
    made_by(lambda: None, app, status_code=204)
    status, site = status_of()

    assert 204 == status
    assert ["ran"] == site.ran()


def test_head_keeps_the_tasks(app: FastAPI, serve: Serve) -> None:
    @app.head("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    site = serve(app)
    response = site.client.head("/")

    assert 200 == response.status_code
    assert ["ran"] == site.ran()


@pytest.mark.parametrize(
    ("requested", "expected"), [("bytes=9999999-", 416), ("nonsense", 400)], ids=["416", "400"]
)
def test_a_file_answered_with_an_error_keeps_the_tasks(
    app: FastAPI, serve: Serve, tmp_path: Path, requested: str, expected: int
) -> None:
    """Starlette answers a bad Range itself, and then drops the response's background."""
    file = tmp_path / "file.txt"
    file.write_text("content")
    made_by(lambda: FileResponse(file), app)
    site = serve(app)
    response = site.client.get("/", headers={"Range": requested})

    assert response.status_code in {expected, 200}  # the oldest Starlette knows no ranges
    assert ["ran"] == site.ran()


def test_a_websocket_that_the_client_leaves_keeps_the_tasks(
    app: FastAPI, serve_started: Serve
) -> None:
    @app.websocket("/")
    async def talk(websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
        await websocket.accept()
        background_tasks.add_task(note, "ran")
        await websocket.receive_text()  # raises WebSocketDisconnect

    site = serve_started(app)
    with suppress(WebSocketDisconnect), site.client.websocket_connect("/"):
        pass
    wait_until(site.jobs, description="the job is stored")

    assert ["ran"] == site.ran()
