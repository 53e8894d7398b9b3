"""The applications that are measured: FastAPI's tasks in memory, and Afterword's durable ones."""

import fastapi
from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

in_memory = FastAPI()
durable = FastAPI()
afterword = Afterword(durable)


async def async_task(number: int) -> None:
    """No operation."""


def sync_task(number: int) -> None:
    """No operation."""


@in_memory.post("/none")
@durable.post("/none")
async def none() -> dict[str, bool]:
    """The baseline: no task."""
    return {"ok": True}


@in_memory.post("/async")
async def in_memory_async(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `async def` task in memory."""
    background_tasks.add_task(async_task, 1)
    return {"ok": True}


@in_memory.post("/def")
async def in_memory_def(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `def` task in memory."""
    background_tasks.add_task(sync_task, 1)
    return {"ok": True}


@durable.post("/async")
async def durable_async(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `async def` task."""
    background_tasks.add_task(async_task, 1)
    return {"ok": True}


@durable.post("/def")
async def durable_def(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `def` task."""
    background_tasks.add_task(sync_task, 1)
    return {"ok": True}
