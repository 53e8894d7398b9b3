"""Threads in which the dependencies of a task are called."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends

from afterword.injection.needs import Injection
from tests.injection.attempts import attempt, attempt_in_loop
from tests.injection.depending import Log


def test_a_def_task_with_def_dependencies_stays_in_one_thread(
    injection: Injection, log: Log
) -> None:

    def get() -> Iterator[None]:
        log.add("enter")
        yield
        log.add("leave")

    def around(_: Annotated[None, Depends(get)]) -> None:
        log.add("around")

    def task(_: Annotated[None, Depends(around)]) -> None:
        log.add("body")

    assert injection.of(task).all_sync
    attempt(injection, task)

    assert 4 == len(log.threads)
    assert 1 == len(set(log.threads))
    assert threading.get_ident() not in log.threads


def test_a_def_task_with_an_async_dependency_runs_in_a_thread(
    injection: Injection, log: Log
) -> None:
    """The dependency runs in the event loop, the body in a thread."""

    async def get() -> str:
        log.add("get")
        return "got"

    def task(x: int, got: Annotated[str, Depends(get)]) -> str:
        log.add("body")
        return got

    assert not injection.of(task).all_sync
    assert "got" == attempt(injection, task, 1)
    assert threading.get_ident() == log.threads[0] != log.threads[1]


def test_an_async_task_has_its_def_dependencies_in_threads(injection: Injection, log: Log) -> None:
    """Neighbours share one change of threads."""

    async def first() -> None:
        log.add("first")

    def second(_: Annotated[None, Depends(first)]) -> None:
        log.add("second")

    def third(_: Annotated[None, Depends(second)]) -> Iterator[None]:
        log.add("third")
        yield
        log.add("third is left")

    async def task(_: Annotated[None, Depends(third)]) -> None:
        log.add("body")

    attempt(injection, task)

    here = threading.get_ident()
    in_loop = [thread == here for thread in log.threads]
    assert ["first", "second", "third", "body", "third is left"] == log
    assert [True, False, False, True, False] == in_loop
    assert log.threads[1] == log.threads[2]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_def_dependency_sees_the_context_of_the_task(injection: Injection) -> None:
    """It is left in the context of its entry, so that it can reset tokens."""

    def get() -> Iterator[str]:
        seen = variable.get()
        token = variable.set("by the dependency")
        yield seen
        variable.reset(token)

    async def around() -> None:
        variable.set("by the task")

    async def task(_: Annotated[None, Depends(around)], seen: Annotated[str, Depends(get)]) -> Any:
        return seen, variable.get()

    assert ("by the task", "by the task") == attempt(injection, task)


def test_a_task_group_may_be_open_from_setup_to_teardown(injection: Injection) -> None:

    async def get_group() -> AsyncIterator[Any]:
        async with anyio.create_task_group() as group:
            yield group

    async def task(group: Annotated[Any, Depends(get_group)]) -> None:
        group.start_soon(asyncio.sleep, 0)

    attempt(injection, task)


@pytest.mark.anyio
async def test_cancelling_while_a_thread_enters_leaves_what_it_entered(
    injection: Injection, log: Log, anyio_backend: str
) -> None:
    entering, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[None]:
        entering.set()
        go_on.wait(60)
        log.add("entered")
        try:
            yield
        finally:
            log.add("left")

    async def task(_: Annotated[None, Depends(slow)]) -> None:
        log.add("body")

    running = asyncio.create_task(attempt_in_loop(injection, task))
    await asyncio.to_thread(entering.wait, 10)
    running.cancel()
    await asyncio.sleep(0.001)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ["entered", "left"] == log


@pytest.mark.anyio
async def test_many_attempts_at_once_do_not_wait_for_each_other(
    injection: Injection, anyio_backend: str
) -> None:
    """Leaving never waits for a thread that waits to enter."""
    pool = threading.Semaphore(5)

    def connection() -> Iterator[None]:
        assert pool.acquire(timeout=60)
        yield
        pool.release()

    async def task(_: Annotated[None, Depends(connection)]) -> None:
        await asyncio.sleep(0.001)

    await asyncio.gather(*(attempt_in_loop(injection, task) for _ in range(100)))
