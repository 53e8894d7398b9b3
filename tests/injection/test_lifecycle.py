"""Setup, body and teardown of one attempt: cancellations, and threads."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import anyio
import pytest

from afterword.injection.lifecycle import Run, run_sync, uninterrupted

pytestmark = pytest.mark.anyio


class Opened:
    """A bound function whose scope is made by a generator."""

    def __init__(self, scope: Callable[[], AsyncIterator[dict[str, Any]]]) -> None:
        self._scope = contextlib.asynccontextmanager(scope)

    def scope(self, provided: Mapping[type, Any]) -> AbstractAsyncContextManager[dict[str, Any]]:
        return self._scope()

    def sync_scope(self, provided: Mapping[type, Any]) -> AbstractContextManager[dict[str, Any]]:
        raise NotImplementedError


def _noted(log: list[str], seconds: float = 0.0) -> Opened:
    """Return a scope that notes the end of the body, and takes some seconds to leave."""

    async def scope() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(seconds)
            log.append("left")

    return Opened(scope)


async def _forever(_: dict[str, Any]) -> None:
    await asyncio.sleep(60)


async def _at_once(_: dict[str, Any]) -> str:
    return "done"


async def _started(run: Run, body: Callable[[dict[str, Any]], Awaitable[Any]]) -> asyncio.Task[Any]:
    task = asyncio.create_task(run(body))
    await asyncio.sleep(0.01)
    return task


async def test_it_returns_what_the_body_returns() -> None:
    log: list[str] = []

    assert "done" == await Run(_noted(log), {})(_at_once)
    assert ["left"] == log


async def test_cancelling_reaches_the_body_and_the_dependencies_see_it() -> None:
    log: list[str] = []
    run = Run(_noted(log, 0.02), {})
    task = await _started(run, _forever)

    assert run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["CancelledError", "left"] == log


async def test_cancelling_does_not_reach_the_teardown() -> None:
    log: list[str] = []
    run = Run(_noted(log, 0.05), {})
    task = await _started(run, _at_once)

    assert not run.cancel()
    assert "done" == await task
    assert ["left"] == log


async def test_nothing_is_cancelled_before_it_has_begun_or_after_it_has_ended() -> None:
    run = Run(_noted([]), {})

    assert not run.cancel()
    await run(_at_once)
    assert not run.cancel()


async def test_cancelling_reaches_the_setup() -> None:
    """A setup that hangs must not keep a worker from ending."""
    log: list[str] = []

    async def scope() -> AsyncIterator[dict[str, Any]]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        yield {}

    run = Run(Opened(scope), {})
    task = await _started(run, _at_once)
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["cancelled"] == log


async def test_the_time_limit_is_for_the_body_and_the_dependencies_see_it() -> None:
    log: list[str] = []

    run = Run(_noted(log, 0.05), {})
    task = await _started(run, _forever)
    run.cancel(TimeoutError("too long"))

    with pytest.raises(TimeoutError, match="too long"):
        await task
    assert ["TimeoutError", "left"] == log
    assert 0 == task.cancelling()


async def test_a_teardown_that_does_not_end_is_cut_off() -> None:
    log: list[str] = []
    began = time.monotonic()

    with pytest.raises(TimeoutError, match=r"may take 0\.02 seconds, but this one took longer"):
        await Run(_noted(log, 60), {}, teardown_timeout=0.02)(_at_once)
    assert time.monotonic() - began < 30
    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()


async def test_a_teardown_that_is_cut_off_does_not_hide_why_the_body_failed() -> None:

    async def failing(_: dict[str, Any]) -> None:
        raise ValueError("of the body")

    async def scope() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        except ValueError:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            raise

    with pytest.raises(ValueError, match="of the body"):
        await Run(Opened(scope), {}, teardown_timeout=0.01)(failing)


async def test_a_cancel_scope_may_be_open_from_setup_to_teardown() -> None:

    async def scope() -> AsyncIterator[dict[str, Any]]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield {"task": asyncio.current_task()}
            group.cancel_scope.cancel()

    async def body(values: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        return values["task"] is asyncio.current_task()

    assert await Run(Opened(scope), {})(body)


async def test_a_cancel_scope_of_a_dependency_may_cancel_the_body() -> None:
    """A time limit that a dependency sets."""

    async def scope() -> AsyncIterator[dict[str, Any]]:
        with anyio.fail_after(0.01):
            yield {}

    with pytest.raises(TimeoutError):
        await Run(Opened(scope), {})(_forever)


async def test_one_run_in_another() -> None:
    """After the inner one has left, the outer one can still be cancelled."""
    log: list[str] = []

    async def body(_: dict[str, Any]) -> bool:
        await Run(_noted(log), {})(_at_once)
        return outer.leaving

    outer = Run(_noted(log), {})

    assert not await outer(body)


async def test_waiting_for_a_thread_goes_on_when_cancelled() -> None:
    """Objects that the thread uses stay open until it has ended."""
    log: list[str] = []
    go_on = threading.Event()

    def work() -> None:
        go_on.wait(60)
        log.append("worked")

    async def body(_: dict[str, Any]) -> None:
        await uninterrupted(asyncio.get_running_loop().run_in_executor(None, work))

    run = Run(_noted(log), {})
    task = await _started(run, body)
    run.cancel()
    await asyncio.sleep(0.01)
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["worked", "CancelledError", "left"] == log


async def test_a_body_in_a_thread_is_not_cancelled_but_its_setup_is() -> None:
    in_setup = Run(Opened(_sleeping), {})
    task = await _started(in_setup, _at_once)
    in_body = Run(_noted([]), {})
    other = await _started(in_body, lambda _: asyncio.sleep(0.02, "worked"))

    assert in_setup.cancel(body=False)
    assert not in_body.cancel(body=False)
    assert "worked" == await other
    with pytest.raises(asyncio.CancelledError):
        await task


async def _sleeping() -> AsyncIterator[dict[str, Any]]:
    await asyncio.sleep(60)
    yield {}


async def test_waiting_for_a_thread_raises_what_it_raises() -> None:
    def work() -> None:
        raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        await uninterrupted(asyncio.get_running_loop().run_in_executor(None, work))


async def test_setup_body_and_teardown_in_one_thread() -> None:
    threads: list[int] = []

    class InThread(Opened):
        def sync_scope(
            self, provided: Mapping[type, Any]
        ) -> AbstractContextManager[dict[str, Any]]:
            return self._kept()

        @contextlib.contextmanager
        def _kept(self) -> Any:
            threads.append(threading.get_ident())
            yield {"value": 1}
            threads.append(threading.get_ident())

    def body(values: dict[str, Any]) -> Any:
        threads.append(threading.get_ident())
        return values["value"]

    needs = InThread(_nothing)
    call = functools.partial(run_sync, needs, {}, body)

    assert 1 == await asyncio.get_running_loop().run_in_executor(None, call)
    assert 3 == len(threads)
    assert 1 == len(set(threads))


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    yield {}
