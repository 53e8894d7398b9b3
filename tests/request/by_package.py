"""Routes of a module that imports the package instead of the class."""

import fastapi
import starlette.background
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response


def note(text: str) -> None: ...


async def with_parameter(
    name: str,
    tasks: fastapi.BackgroundTasks,
) -> None: ...


async def in_response(request: Request) -> Response:
    tasks = starlette.background.BackgroundTasks()
    return PlainTextResponse("ok", background=tasks)
