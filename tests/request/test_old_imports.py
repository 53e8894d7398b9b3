"""Routes that still use FastAPI's or Starlette's background tasks: the start names them."""

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import fastapi
import pytest
import starlette.background
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router

import afterword.fastapi as ours
from afterword import Afterword, telemetry
from afterword.background import BackgroundTask as OurBackgroundTask
from afterword.errors import ConfigurationError
from afterword.fastapi import BackgroundTasks as OurBackgroundTasks
from afterword.request import old_imports
from tests.at_work import url_in
from tests.request import by_package

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_warned", set())
    ran.clear()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return url_in(tmp_path)


# ---------------------------------------------------------------------- what routes look like


def note(text: str) -> None:
    ran.append(text)


async def with_parameter(tasks: BackgroundTasks) -> None:
    tasks.add_task(note, "in memory")


def dependency(tasks: BackgroundTasks) -> BackgroundTasks:
    return tasks


def dependency_of_dependency(tasks: Annotated[Any, Depends(dependency)]) -> Any:
    return tasks


class AsClass:
    """A dependency that is a class."""

    def __init__(self, tasks: BackgroundTasks) -> None:
        self.tasks = tasks

    def method(self) -> None: ...


class Inherited(AsClass):
    """A class that takes the parameter of its base."""


@dataclass
class AsDataclass:
    """A class whose `__init__` is in no file."""

    tasks: BackgroundTasks


async def behind_base(tasks: Annotated[Inherited, Depends()]) -> None: ...


async def behind_dataclass(tasks: Annotated[AsDataclass, Depends()]) -> None: ...


async def behind_dependency(tasks: Annotated[Any, Depends(dependency_of_dependency)]) -> None: ...


async def behind_class(tasks: Annotated[AsClass, Depends()]) -> None: ...


async def with_ours(tasks: OurBackgroundTasks) -> None:
    tasks.add_task(note, "stored")


async def in_response(request: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(note, "in memory"))


async def in_response_by_module(request: Request) -> Response:
    tasks = starlette.background.BackgroundTasks()
    return PlainTextResponse("ok", background=tasks)


async def in_response_by_package(request: Request) -> Response:
    return PlainTextResponse("ok", background=fastapi.BackgroundTasks())


async def in_response_imported_here(request: Request) -> Response:
    from starlette.background import BackgroundTask as Task

    return PlainTextResponse("ok", background=Task(note, "in memory"))


async def in_response_by_module_imported_here(request: Request) -> Response:
    import starlette.background as here

    def respond() -> Response:
        return PlainTextResponse("ok", background=here.BackgroundTask(note, "in memory"))

    return respond()


def in_response_of_closure() -> Callable[..., Any]:
    cls = BackgroundTask

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok", background=cls(note, "in memory"))

    return endpoint


async def in_response_ours_by_module(request: fastapi.Request) -> Response:
    """Name FastAPI, and use a class with the name of FastAPI's."""
    tasks = ours.BackgroundTasks()
    return fastapi.Response("ok", background=tasks)


async def in_response_ours_imported_here(request: fastapi.Request) -> Response:
    from afterword.fastapi import BackgroundTasks

    return fastapi.Response("ok", background=BackgroundTasks())


async def in_response_ours(request: Request) -> Response:
    return PlainTextResponse("ok", background=OurBackgroundTask(note, "stored"))


class InClass(HTTPEndpoint):
    """An endpoint of Starlette that is a class."""

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(note, "in memory"))


class InBase(InClass):
    """An endpoint whose function is in the base class."""


def wrapped(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate, as applications do."""

    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await func(*args, **kwargs)

    return wrapper


def followed(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate with a task of the decorator's own."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return PlainTextResponse("", background=BackgroundTask(func, *args, **kwargs))

    return wrapper


def routes_of(found: list[old_imports.OldImport]) -> list[str]:
    """Return the named routes."""
    return [route for each in found for route in each.routes]


# ---------------------------------------------------------------------- which are found


@pytest.mark.parametrize(
    "endpoint",
    [
        with_parameter,
        behind_dependency,
        behind_class,
        behind_base,
        behind_dataclass,
        wrapped(with_parameter),
    ],
)
def test_a_parameter_is_found(endpoint: Callable[..., Any]) -> None:
    """It may be the route's, or a dependency's at any depth."""
    app = FastAPI()
    app.post("/users/{name}")(endpoint)
    (found,) = old_imports.find(app)

    assert ("POST /users/{name}",) == found.routes
    assert "from afterword.fastapi import BackgroundTasks" == found.right[-1]
    assert found.place.startswith("tests/request/test_old_imports.py:")


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (in_response, "BackgroundTask"),
        (in_response_by_module, "BackgroundTasks"),
        (in_response_by_package, "BackgroundTasks"),
        (in_response_imported_here, "BackgroundTask"),
        (in_response_by_module_imported_here, "BackgroundTask"),
        (in_response_of_closure(), "BackgroundTask"),
        (wrapped(in_response), "BackgroundTask"),
        (followed(note), "BackgroundTask"),
        (wrapped(followed(note)), "BackgroundTask"),
        (InClass, "BackgroundTask"),
        (InBase, "BackgroundTask"),
    ],
)
def test_a_task_of_a_response_is_found(endpoint: Any, name: str) -> None:
    """The classes that the endpoint's code names are searched."""
    (found,) = old_imports.find(Starlette(routes=[Route("/x", endpoint, methods=["POST"])]))

    right = f"from afterword.background import {name}"
    assert (("POST /x",), right) == (found.routes, found.right[-1])


def test_an_endpoint_that_is_a_class_has_the_methods_of_its_functions() -> None:
    """Starlette has no methods for its route."""
    (found,) = old_imports.find(Starlette(routes=[Route("/x", InBase)]))

    assert ("POST /x",) == found.routes


def test_routers_and_mounted_applications_are_looked_into() -> None:
    """Each route with its whole path."""
    deep = APIRouter(prefix="/deep")
    deep.get("/x")(with_parameter)
    outer = APIRouter(prefix="/outer")
    outer.include_router(deep)
    outer.websocket("/ws")(with_parameter_of_socket)
    app, sub = FastAPI(), FastAPI()
    app.include_router(outer, prefix="/api")
    sub.get("/y")(with_parameter)
    app.mount("/sub", sub)
    app.router.routes.append(Mount("/plain", Router([Route("/z", in_response)])))

    assert {
        "GET /api/outer/deep/x",
        "WebSocket /api/outer/ws",
        "GET /sub/y",
        "GET /plain/z",
    } == set(routes_of(old_imports.find(app)))


async def with_parameter_of_socket(socket: WebSocket, tasks: BackgroundTasks) -> None: ...


def test_dependencies_of_a_router_are_looked_at() -> None:
    """They may belong to the application, a router, or an inclusion."""
    for place in ("app", "router", "include"):
        given = {each: [Depends(dependency)] if each == place else [] for each in PLACES}
        app, router = FastAPI(dependencies=given["app"]), APIRouter(dependencies=given["router"])
        router.get("/x")(with_ours)
        app.include_router(router, dependencies=given["include"])

        assert ["GET /x"] == routes_of(old_imports.find(app)), place


PLACES = ("app", "router", "include")


def test_ours_are_not_found(url: str) -> None:
    """Routes that Afterword and FastAPI add are not named either."""
    app = FastAPI()
    afterword = Afterword(app, url)
    app.post("/stored")(with_ours)
    app.router.routes.append(Route("/plain", in_response_ours))
    app.get("/by-module")(in_response_ours_by_module)
    app.get("/imported-here")(in_response_ours_imported_here)
    app.include_router(afterword.jobs_router(authorize=lambda: True))

    assert [] == old_imports.find(app)


def test_a_mounted_application_with_an_afterword_looks_itself(url: str, tmp_path: Path) -> None:
    """It has its own `strict`."""
    app, sub = FastAPI(), FastAPI()
    Afterword(app, url)
    Afterword(sub, f"sqlite:///{tmp_path / 'other.db'}")
    sub.get("/y")(with_parameter)
    router = APIRouter()
    router.mount("/sub", sub)
    app.mount("/sub", sub)
    app.include_router(router, prefix="/included")

    assert [] == old_imports.find(app)
    assert ["GET /y"] == routes_of(old_imports.find(sub))


# ---------------------------------------------------------------------- what is said, and done


def test_the_line_to_change_is_named(caplog: pytest.LogCaptureFixture, url: str) -> None:
    """There is one warning for each line, with its routes."""
    app = FastAPI()
    Afterword(app, url)
    for path in "abcdefg":
        app.get(f"/{path}")(with_parameter)
    with caplog.at_level(logging.WARNING), TestClient(app) as client:
        answer = client.get("/a")

    (record,) = [each for each in caplog.records if "old_import" in each.getMessage()]
    source = Path(__file__).read_text().splitlines()
    line = 1 + source.index(
        "from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket"
    )
    assert f"test_old_imports.py:{line}:" in record.getMessage()
    assert "GET /a, GET /b, GET /c, GET /d, GET /e and 2 more" in record.getMessage()
    right = (  # what else the line imports stays
        "    from fastapi import APIRouter, Depends, FastAPI, WebSocket  # correct!\n"
        "        from afterword.fastapi import BackgroundTasks  # correct!"
    )
    assert right in record.getMessage()
    assert (200, ["in memory"]) == (answer.status_code, ran)  # it works as before


@pytest.mark.parametrize(
    ("endpoint", "wrong"),
    [
        (by_package.with_parameter, "tasks: fastapi.BackgroundTasks,"),
        (behind_dataclass, "from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI"),
        (in_response, "from starlette.background import BackgroundTask"),
        (by_package.in_response, "tasks = starlette.background.BackgroundTasks()"),
    ],
)
def test_the_line_is_the_import_or_the_use(endpoint: Any, wrong: str) -> None:
    """This also holds without an import, and for generated code."""
    app = FastAPI()
    if "request" in inspect.signature(endpoint).parameters:
        app.router.routes.append(Route("/x", endpoint))
    else:
        app.get("/x")(endpoint)
    (found,) = old_imports.find(app)
    file, _, line = found.place.partition(":")

    assert found.wrong.startswith(wrong)
    assert found.wrong == Path(file).read_text().splitlines()[int(line) - 1].strip()


def test_an_endpoint_that_is_a_class_is_named_by_its_methods() -> None:
    """Its route has no methods."""
    (found,) = old_imports.find(Starlette(routes=[Route("/x", InBase)]))

    assert ("POST /x",) == found.routes


def test_strict_refuses_to_start(url: str) -> None:
    """One message has all lines."""
    app = FastAPI()
    Afterword(app, url, strict=True)
    app.get("/a")(with_parameter)
    app.router.routes.append(Route("/b", in_response))

    with pytest.raises(ConfigurationError) as caught, TestClient(app):
        pass
    assert "GET /a" in str(caught.value)
    assert "GET /b" in str(caught.value)


def test_strict_only_warns_of_a_library(caplog: pytest.LogCaptureFixture, url: str) -> None:
    """The application cannot change its lines."""

    async def of_library(tasks: BackgroundTasks) -> None: ...

    of_library.__module__ = "starlette.of_a_library"
    app = FastAPI()
    Afterword(app, url, strict=True)
    app.get("/admin")(of_library)
    with TestClient(app):
        pass

    assert "GET /admin" in caplog.text
