"""Applications from Wireup's documentation, with one import changed, and their tasks."""

from collections.abc import Awaitable, Callable
from typing import Any

import wireup
import wireup.integration.fastapi
import wireup.integration.starlette
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from wireup import Injected
from wireup.integration.fastapi import WireupTask
from wireup.integration.starlette import inject

import afterword.wireup
from afterword.fastapi import BackgroundTask, BackgroundTasks
from tests.injection import services
from tests.injection.services import Audit, Client, Greeter, Session, Transient

seen: list[Any] = []


def write_greeting(name: str, greeter: Injected[Greeter]) -> None:
    """The task of Wireup's page."""
    seen.append(greeter.greet(name))


async def write_greeting_async(name: str, greeter: Injected[Greeter]) -> None:
    """The task of Wireup's page, for the event loop."""
    seen.append(greeter.greet(name))


def use_session(name: str, session: Injected[Session], greeter: Injected[Greeter]) -> None:
    """A task with a synchronous `yield` factory."""
    seen.append((greeter.greet(name), session, greeter))


async def use_session_async(
    name: str, session: Injected[Session], greeter: Injected[Greeter]
) -> None:
    """A task with a synchronous `yield` factory, for the event loop."""
    seen.append((greeter.greet(name), session, greeter))


def use_client(name: str, client: Injected[Client], greeter: Injected[Greeter]) -> None:
    """A `def` task with an asynchronous `yield` factory, which Wireup itself cannot do."""
    seen.append((greeter.greet(name), client, greeter))


async def use_client_async(name: str, client: Injected[Client], greeter: Injected[Greeter]) -> None:
    """A task with an asynchronous `yield` factory."""
    seen.append((greeter.greet(name), client, greeter))


def fail_once(
    name: str, client: Injected[Client], one: Injected[Transient], two: Injected[Transient]
) -> None:
    """A task whose first attempt fails."""
    seen.append((client, one, two))
    if len(seen) == 1:
        raise ValueError("no luck")


async def fail_once_async(
    name: str, client: Injected[Client], one: Injected[Transient], two: Injected[Transient]
) -> None:
    """A task whose first attempt fails, for the event loop."""
    seen.append((client, one, two))
    if len(seen) == 1:
        raise ValueError("no luck")


def audit(name: str, audit: Injected[Audit]) -> None:
    """A task with a service that gets the attempt."""
    audit.progress.update(1, total=2)
    seen.append(audit.job_id)


@inject
async def decorated(name: str, session: Injected[Session], greeter: Injected[Greeter]) -> None:
    """A function that Wireup has wrapped, under its name in the module."""
    helped = await helper()
    seen.append((greeter.greet(name), session is helped))


@inject
async def helper(session: Injected[Session]) -> Session:
    """A function that tasks call."""
    return session


TASKS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        write_greeting,
        write_greeting_async,
        use_session,
        use_session_async,
        use_client,
        use_client_async,
        fail_once,
        fail_once_async,
        audit,
        decorated,
    )
}


def container(*more: Any) -> wireup.AsyncContainer:
    """Make a container of the services, and of the injectables of Wireup's integrations."""
    return wireup.create_async_container(
        injectables=[services, afterword.wireup, *more], config={"name": "test"}
    )


def fastapi_app() -> FastAPI:
    """Make a FastAPI application, with both ways of the page."""
    app = FastAPI()

    @app.post("/added/{name}")
    async def added(
        name: str, tasks: BackgroundTasks, wireup_task: Injected[WireupTask]
    ) -> dict[str, str]:
        return {"job": tasks.add_task(wireup_task(TASKS[name]), "World").id}

    @app.post("/plain/{name}")
    async def plain(name: str, tasks: BackgroundTasks) -> dict[str, str]:
        return {"job": tasks.add_task(TASKS[name], "World").id}

    @app.post("/twice/{name}")
    def twice(
        name: str, tasks: BackgroundTasks, wireup_task: Injected[WireupTask]
    ) -> dict[str, str]:
        return {"job": tasks.add_task(wireup_task(wireup_task(TASKS[name])), "World").id}

    @app.post("/on-response/{name}")
    async def on_response(name: str, wireup_task: Injected[WireupTask]) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(wireup_task(TASKS[name]), "World"))

    wireup.integration.fastapi.setup(container(wireup.integration.fastapi), app)
    return app


@inject
async def hello(request: Request, wireup_task: Injected[WireupTask]) -> PlainTextResponse:
    """The example of Wireup's page for Starlette."""
    name = request.query_params.get("name", "World")
    func = TASKS[request.path_params["name"]]
    return PlainTextResponse("ok", background=BackgroundTask(wireup_task(func), name))


def starlette_app() -> Starlette:
    """Make a Starlette application."""
    endpoint: Callable[[Request], Awaitable[Response]] = hello
    app = Starlette(routes=[Route("/on-response/{name}", endpoint, methods=["POST"])])
    wireup.integration.starlette.setup(container(wireup.integration.starlette), app)
    return app
