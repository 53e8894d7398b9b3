"""The application of the experiments with a Celery fleet: Celery's task, and one of our own."""

import os
from typing import Any

from celery import Celery
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from afterword import Afterword
from afterword.starlette import BackgroundTasks

celery = Celery("chaos", broker=os.environ["FLEET_BROKER"])


@celery.task  # type: ignore[untyped-decorator]
def handed(number: int) -> None:
    """Do nothing: it never runs, the experiments count its messages."""


def own(number: int) -> None:
    """Do nothing, in our own workers."""


async def add(request: Request) -> JSONResponse:
    """Add three jobs for the fleet, or one of our own."""
    tasks = BackgroundTasks()
    funcs: list[Any] = [own] if "own" in request.query_params else [handed] * 3
    jobs = [tasks.add_task(func, number) for number, func in enumerate(funcs)]
    return JSONResponse([job.id for job in jobs], background=tasks)


app = Starlette(routes=[Route("/", add, methods=["POST"])])
afterword = Afterword(app, os.environ["FLEET_STORE"], order="concurrent")
