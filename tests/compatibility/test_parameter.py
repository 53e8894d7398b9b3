"""`background_tasks: BackgroundTasks` works wherever FastAPI's own does."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.exceptions import FastAPIError
from fastapi.security import SecurityScopes
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from afterword.errors import NotInstalled
from afterword.fastapi import BackgroundTask, BackgroundTasks
from afterword.request import background
from tests.compatibility.conftest import Serve
from tests.compatibility.versions import HAS_FUNCTION_SCOPE
from tests.sites import note, note_async

FUNCTION_SCOPE: dict[str, Any] = {"scope": "function"} if HAS_FUNCTION_SCOPE else {}


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


def test_in_an_async_handler(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    async def handler(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, "ran")
        return "ok"

    site = serve(app)
    response = site.client.get("/")

    assert "ok" == response.json()
    assert ["ran"] == site.ran()


def test_in_a_def_handler(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_async, "ran")

    site = serve(app)
    site.client.get("/")

    assert ["ran"] == site.ran()


def test_with_the_default_none(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks = None) -> None:  # type: ignore[assignment]
        background_tasks.add_task(note, "ran")

    site = serve(app)
    site.client.get("/")

    assert ["ran"] == site.ran()


def test_in_a_sub_dependency(app: FastAPI, serve: Serve) -> None:
    def inner(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "inner")

    def outer(_: Annotated[None, Depends(inner)], background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "outer")

    @app.get("/", dependencies=[Depends(outer)])
    def handler() -> None: ...

    site = serve(app)
    site.client.get("/")

    assert ["inner", "outer"] == site.ran()


def test_in_a_class_dependency(app: FastAPI, serve: Serve) -> None:
    class Mailer:
        def __init__(self, background_tasks: BackgroundTasks) -> None:
            self.background_tasks = background_tasks

    @app.get("/")
    def handler(mailer: Annotated[Mailer, Depends()]) -> None:
        mailer.background_tasks.add_task(note, "ran")

    site = serve(app)
    site.client.get("/")

    assert ["ran"] == site.ran()


def test_in_a_yield_dependency(app: FastAPI, serve: Serve) -> None:
    def resource(background_tasks: BackgroundTasks) -> Iterator[None]:
        background_tasks.add_task(note, "entered")
        yield

    @app.get("/", dependencies=[Depends(resource)])
    def handler() -> None: ...

    site = serve(app)
    site.client.get("/")

    assert ["entered"] == site.ran()


@pytest.mark.skipif(not HAS_FUNCTION_SCOPE, reason="this FastAPI has no Depends(scope=)")
def test_in_a_yield_dependency_of_function_scope(app: FastAPI, serve: Serve) -> None:
    async def resource(background_tasks: BackgroundTasks) -> AsyncIterator[None]:
        background_tasks.add_task(note, "entered")
        yield
        background_tasks.add_task(note, "left")

    @app.get("/", dependencies=[Depends(resource, **FUNCTION_SCOPE)])
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "handled")

    site = serve(app)
    site.client.get("/")

    assert ["entered", "handled", "left"] == site.ran()


def test_in_a_security_dependency(app: FastAPI, serve: Serve) -> None:
    def user(scopes: SecurityScopes, background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, f"audit {scopes.scope_str}")
        return "ada"

    @app.get("/")
    def handler(name: Annotated[str, Security(user, scopes=["read"])]) -> str:
        return name

    site = serve(app)
    response = site.client.get("/")

    assert "ada" == response.json()
    assert ["audit read"] == site.ran()


def test_in_a_router_and_its_dependencies(app: FastAPI, serve: Serve) -> None:
    def count(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "router")

    router = APIRouter(prefix="/api", dependencies=[Depends(count)])

    @router.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "handler")

    app.include_router(router)
    site = serve(app)
    site.client.get("/api/")

    assert ["router", "handler"] == site.ran()


def test_in_a_mounted_application(app: FastAPI, serve: Serve) -> None:
    inner = FastAPI()

    @inner.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    app.mount("/inner", inner)
    site = serve(app)
    site.client.get("/inner/")

    assert ["ran"] == site.ran()


def test_in_an_application_mounted_in_starlette(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    site = serve(Starlette(routes=[Mount("/inner", app)]))
    site.client.get("/inner/")

    assert ["ran"] == site.ran()


def test_in_a_websocket_route_runs_when_the_connection_ends(app: FastAPI, serve: Serve) -> None:
    @app.websocket("/")
    async def talk(websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
        await websocket.accept()
        background_tasks.add_task(note, await websocket.receive_text())
        await websocket.close()

    site = serve(app)
    with site.client.websocket_connect("/") as websocket:
        websocket.send_text("said")
        websocket.receive()

    assert ["said"] == site.ran()


def test_under_dependency_overrides(app: FastAPI, serve: Serve) -> None:
    def real() -> str:
        raise AssertionError("overridden")

    def fake(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, "fake")
        return "fake"

    @app.get("/")
    def handler(name: Annotated[str, Depends(real)], background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, "handler")
        return name

    app.dependency_overrides[real] = fake
    site = serve(app)
    response = site.client.get("/")

    assert "fake" == response.json()
    assert ["fake", "handler"] == site.ran()


def test_beside_fastapi_own_background_tasks(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(own: fastapi.BackgroundTasks, background_tasks: BackgroundTasks) -> None:
        own.add_task(note, "fastapi")
        background_tasks.add_task(note, "afterword")

    site = serve(app)
    site.client.get("/")

    assert {"fastapi", "afterword"} == set(site.ran())


def test_one_instance_per_request(app: FastAPI, serve: Serve) -> None:
    seen: list[BackgroundTasks] = []

    def plain(background_tasks: BackgroundTasks) -> None:
        seen.append(background_tasks)

    def secured(scopes: SecurityScopes, background_tasks: BackgroundTasks) -> None:
        seen.append(background_tasks)

    def opened(background_tasks: BackgroundTasks) -> Iterator[None]:
        seen.append(background_tasks)
        yield

    @app.get(
        "/",
        dependencies=[
            Depends(plain),
            Depends(plain, use_cache=False),
            Security(secured, scopes=["a"]),
            Security(secured, scopes=["b"]),
            Depends(opened, **FUNCTION_SCOPE),
        ],
    )
    def handler(background_tasks: BackgroundTasks) -> None:
        seen.append(background_tasks)

    site = serve(app)
    site.client.get("/")
    first = seen.copy()
    seen.clear()
    site.client.get("/")

    assert len(first) >= 5
    assert 1 == len({id(each) for each in first})
    assert first[0] is not seen[0]


def test_the_name_stays_callable(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler() -> fastapi.Response:
        tasks = BackgroundTasks([BackgroundTask(note, "first")])
        tasks.add_task(note, "second")
        return fastapi.Response(background=tasks)

    site = serve(app)
    site.client.get("/")

    assert isinstance(BackgroundTasks(), background.BackgroundTasks)
    assert ["first", "second"] == site.ran()


def test_stays_out_of_openapi(app: FastAPI) -> None:
    @app.get("/")
    def handler(item: int, background_tasks: BackgroundTasks) -> None: ...

    with_it = app.openapi()["paths"]["/"]["get"]["parameters"]

    assert ["item"] == [parameter["name"] for parameter in with_it]
    assert "requestBody" not in app.openapi()["paths"]["/"]["get"]


def test_the_class_itself_is_refused_as_a_parameter_at_registration(app: FastAPI) -> None:
    """FastAPI would silently inject its own class for a subclass of Starlette's; ours is none."""

    def handler(background_tasks: background.BackgroundTasks) -> None: ...

    with pytest.raises(FastAPIError, match="Invalid args for response field"):
        app.get("/")(handler)


def test_without_afterword_the_error_says_what_is_missing(app: FastAPI) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None: ...

    with pytest.raises(NotInstalled, match=r"afterword = Afterword\(app\)"):
        TestClient(app).get("/")
