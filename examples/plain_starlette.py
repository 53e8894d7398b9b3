"""Starlette without FastAPI: put a BackgroundTask, or several, on the response.

    uvicorn examples.plain_starlette:app
    curl -X POST localhost:8000/subscribers/ada
    curl -X DELETE localhost:8000/subscribers/ada

The classes are used like Starlette's own; only the import differs. A task on a response that is
never returned does not run.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from afterword import Afterword
from afterword.starlette import BackgroundTask, BackgroundTasks

JOURNAL = Path("subscribers.log")


def note(line: str) -> None:
    """Append one line."""
    with JOURNAL.open("a", encoding="utf-8") as journal:
        journal.write(f"{line}\n")


async def greet(name: str) -> None:
    """Greet a subscriber, in an `async def` task."""
    note(f"hello {name!r}")


async def subscribe(request: Request) -> Response:
    """Answer with one task: a BackgroundTask."""
    name = request.path_params["name"]
    return JSONResponse({"subscribed": name}, background=BackgroundTask(greet, name))


async def unsubscribe(request: Request) -> Response:
    """Answer with several tasks: BackgroundTasks, which run one after the other."""
    name = request.path_params["name"]
    tasks = BackgroundTasks()
    tasks.add_task(note, f"removed {name!r}")
    tasks.add_task(note, line=f"good-bye {name!r}")
    return JSONResponse({"unsubscribed": name}, background=tasks)


app = Starlette(
    routes=[
        Route("/subscribers/{name}", subscribe, methods=["POST"]),
        Route("/subscribers/{name}", unsubscribe, methods=["DELETE"]),
    ]
)
afterword = Afterword(app)
