"""Applications whose tasks note when they start: FastAPI's in memory, and Afterword's."""

import fastapi
from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks
from bench.ledger import mark

in_memory = FastAPI()
durable = FastAPI()
afterword = Afterword(durable)


async def async_task(number: int) -> None:
    """Note the start, in the event loop."""
    mark(number)


def sync_task(number: int) -> None:
    """Note the start, in a thread."""
    mark(number)


@in_memory.post("/async")
async def in_memory_async(number: int, background_tasks: fastapi.BackgroundTasks) -> None:
    """One `async def` task in memory."""
    background_tasks.add_task(async_task, number)


@in_memory.post("/def")
async def in_memory_def(number: int, background_tasks: fastapi.BackgroundTasks) -> None:
    """One `def` task in memory."""
    background_tasks.add_task(sync_task, number)


@durable.post("/async")
async def durable_async(number: int, background_tasks: BackgroundTasks) -> None:
    """One durable `async def` task."""
    background_tasks.add_task(async_task, number)


@durable.post("/def")
async def durable_def(number: int, background_tasks: BackgroundTasks) -> None:
    """One durable `def` task."""
    background_tasks.add_task(sync_task, number)
