"""A FastAPI application that runs in the test's own event loop, and a way to add to it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from afterword import Afterword, Job
from tests.at_work import url_in


@contextlib.asynccontextmanager
async def working(
    folder: Path, app: FastAPI | None = None, url: str | None = None, **options: Any
) -> AsyncIterator[Afterword]:
    """Start an application, and drain it afterwards."""
    afterword = Afterword(app or FastAPI(), url or url_in(folder), **options)
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


async def add(to: Any, func: Callable[..., Any], *args: Any) -> Job[Any]:
    """Add a task whose injected parameters a type checker would miss in the call."""
    job: Job[Any] = await to.add_task(func, *args)
    return job
