"""The applications that are measured: FastAPI's tasks in memory, and Afterword's durable ones.

A path says what its task is: `/def-0` is a `def` task that does nothing, `/async-1` an `async def`
task that takes a millisecond.
"""

import asyncio
import time

import fastapi
from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

in_memory = FastAPI()
durable = FastAPI()
afterword = Afterword(durable)


async def async_noop(number: int) -> None:
    """No operation."""


def sync_noop(number: int) -> None:
    """No operation."""


async def async_wait(number: int) -> None:
    """A millisecond of waiting."""
    await asyncio.sleep(0.001)


def sync_wait(number: int) -> None:
    """A millisecond of waiting."""
    time.sleep(0.001)


@in_memory.post("/none")
@durable.post("/none")
async def none() -> dict[str, bool]:
    """The baseline: no task."""
    return {"ok": True}


@in_memory.post("/async-0")
async def in_memory_async(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `async def` task in memory."""
    background_tasks.add_task(async_noop, 1)
    return {"ok": True}


@in_memory.post("/def-0")
async def in_memory_def(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `def` task in memory."""
    background_tasks.add_task(sync_noop, 1)
    return {"ok": True}


@in_memory.post("/async-1")
async def in_memory_async_wait(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `async def` task in memory that waits."""
    background_tasks.add_task(async_wait, 1)
    return {"ok": True}


@in_memory.post("/def-1")
async def in_memory_def_wait(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """One `def` task in memory that waits."""
    background_tasks.add_task(sync_wait, 1)
    return {"ok": True}


@durable.post("/async-0")
async def durable_async(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `async def` task."""
    background_tasks.add_task(async_noop, 1)
    return {"ok": True}


@durable.post("/def-0")
async def durable_def(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `def` task."""
    background_tasks.add_task(sync_noop, 1)
    return {"ok": True}


@durable.post("/async-1")
async def durable_async_wait(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `async def` task that waits."""
    background_tasks.add_task(async_wait, 1)
    return {"ok": True}


@durable.post("/def-1")
async def durable_def_wait(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """One durable `def` task that waits."""
    background_tasks.add_task(sync_wait, 1)
    return {"ok": True}
