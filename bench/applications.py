"""The measured applications: FastAPI's tasks in memory, and Afterword's durable ones.

A path names its task: `/def-0` adds a `def` task that does nothing, `/async-1` an `async def` task
that takes a millisecond. `/async-ten` adds ten tasks, and `/async-chain` has a chain of
dependencies, as routes of real applications do.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import fastapi
from fastapi import Depends, FastAPI, Header

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


class Session:
    """A stand-in for a database session."""


async def settings() -> dict[str, str]:
    """Return settings: the first dependency of the chain."""
    return {"currency": "EUR"}


async def session(of: Annotated[dict[str, str], Depends(settings)]) -> AsyncIterator[Session]:
    """Yield a session until the request is over."""
    yield Session()


async def user(
    of: Annotated[Session, Depends(session)], authorization: Annotated[str, Header()] = "nobody"
) -> str:
    """Return a header."""
    return authorization


async def orders(
    of: Annotated[Session, Depends(session)], who: Annotated[str, Depends(user)]
) -> str:
    """Return the user: the last dependency of the chain."""
    return who


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


@in_memory.post("/async-ten")
async def in_memory_async_ten(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """Ten `async def` tasks in memory."""
    for number in range(10):
        background_tasks.add_task(async_noop, number)
    return {"ok": True}


@in_memory.post("/async-chain")
async def in_memory_async_chain(
    background_tasks: fastapi.BackgroundTasks, who: Annotated[str, Depends(orders)]
) -> dict[str, bool]:
    """One `async def` task in memory, behind a chain of dependencies."""
    background_tasks.add_task(async_noop, 1)
    return {"ok": True}


@in_memory.post("/def-ten")
async def in_memory_def_ten(background_tasks: fastapi.BackgroundTasks) -> dict[str, bool]:
    """Ten `def` tasks in memory."""
    for number in range(10):
        background_tasks.add_task(sync_noop, number)
    return {"ok": True}


@in_memory.post("/def-chain")
async def in_memory_def_chain(
    background_tasks: fastapi.BackgroundTasks, who: Annotated[str, Depends(orders)]
) -> dict[str, bool]:
    """One `def` task in memory, behind a chain of dependencies."""
    background_tasks.add_task(sync_noop, 1)
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


@durable.post("/async-ten")
async def durable_async_ten(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """Ten durable `async def` tasks."""
    for number in range(10):
        background_tasks.add_task(async_noop, number)
    return {"ok": True}


@durable.post("/async-chain")
async def durable_async_chain(
    background_tasks: BackgroundTasks, who: Annotated[str, Depends(orders)]
) -> dict[str, bool]:
    """One durable `async def` task, behind a chain of dependencies."""
    background_tasks.add_task(async_noop, 1)
    return {"ok": True}


@durable.post("/def-ten")
async def durable_def_ten(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """Ten durable `def` tasks."""
    for number in range(10):
        background_tasks.add_task(sync_noop, number)
    return {"ok": True}


@durable.post("/def-chain")
async def durable_def_chain(
    background_tasks: BackgroundTasks, who: Annotated[str, Depends(orders)]
) -> dict[str, bool]:
    """One durable `def` task, behind a chain of dependencies."""
    background_tasks.add_task(sync_noop, 1)
    return {"ok": True}
