"""One attempt: user code of any kind ends as a value, and the worker goes on."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from afterword import JobState, task
from afterword.model.outcome import ERROR_LIMIT
from tests.at_work import at_work, ended, wait_for

pytestmark = pytest.mark.anyio

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


# ---------------------------------------------------------------------- errors


class RaisingText(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class ExitingText(Exception):
    """An error whose text ends the program."""

    def __str__(self) -> str:
        raise SystemExit(9)


class Unpicklable(Exception):
    """An error with an attribute that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("unpicklable")
        self.lock = threading.Lock()


def chain_of_causes() -> BaseException:
    error: BaseException = ValueError("the first")
    for number in range(1_000):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    return error


def nested_groups() -> BaseException:
    error: Exception = ValueError("inmost")
    for number in range(500):
        error = ExceptionGroup(f"group {number}", [error])
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "text-raises": RaisingText,
    "text-exits": ExitingText,
    "20-50-MB": lambda: ValueError("x" * 50_000_000),
    "group": lambda: ExceptionGroup("several", [ValueError("a"), TypeError("b")]),
    "group-of-base-exceptions": lambda: BaseExceptionGroup("several", [SystemExit(1)]),
    "nested-groups": nested_groups,
    "chain-of-1000": chain_of_causes,
    "unpicklable": Unpicklable,
    "surrogates-and-nul": lambda: ValueError("\ud800\0\x1b[31m"),
    "recursion": lambda: RecursionError("too deep"),
    "memory": MemoryError,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator-exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "stop-iteration": StopIteration,
    "stop-async-iteration": StopAsyncIteration,
    "timeout": TimeoutError,
}


def raise_in_thread(name: str) -> None:
    error = ERRORS[name]()
    raise error


async def raise_in_loop(name: str) -> None:
    error = ERRORS[name]()
    raise error


def raise_in_returned_coroutine(name: str) -> Awaitable[None]:
    return raise_in_loop(name)


def note(text: str) -> None:
    ran.append(text)


@pytest.mark.parametrize("name", ERRORS)
async def test_what_a_task_raises_fails_its_job_only(name: str, tmp_path: Path) -> None:
    """There are three ways to raise, and one slot, which each must free."""
    async with at_work(tmp_path, concurrency=1) as afterword:
        ways: tuple[Callable[..., Any], ...] = (
            raise_in_thread,
            raise_in_loop,
            raise_in_returned_coroutine,
        )
        jobs = [await afterword.add_task(way, name) for way in ways]
        neighbour = await afterword.add_task(note, "neighbour")
        records = [await ended(afterword, job) for job in (*jobs, neighbour)]

    assert [JobState.FAILED] * 3 + [JobState.COMPLETED] == [record.state for record in records]
    assert all(0 < len(record.error or "") <= ERROR_LIMIT + 100 for record in records[:3])
    assert ["neighbour"] == ran


def recurse(depth: int) -> None:
    recurse(depth + 1)


def exhaust_memory(_: str) -> None:
    bytearray(2**62)


async def test_real_exhaustion_fails_the_job(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        deep = await ended(afterword, await afterword.add_task(recurse, 0))
        large = await ended(afterword, await afterword.add_task(exhaust_memory, ""))

    assert "RecursionError" in (deep.error or "")
    assert "MemoryError" in (large.error or "")


async def test_an_error_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        record = await ended(afterword, await afterword.add_task(raise_in_thread, "20-50-MB"))

    assert (record.error or "").startswith("Traceback (most recent call last):")
    assert (record.error or "").endswith("xxx")
    assert "characters left out" in (record.error or "")


@task(executor="process")
def raise_in_process(name: str) -> None:
    raise_in_thread(name)


@task(executor="process")
async def raise_in_loop_of_process(name: str) -> None:
    await asyncio.sleep(0)
    raise_in_thread(name)


@task(executor="process")
def raise_in_coroutine_of_process(name: str) -> Awaitable[None]:
    return raise_in_loop(name)


@pytest.mark.parametrize(
    "func",
    [
        raise_in_thread,
        raise_in_loop,
        raise_in_returned_coroutine,
        raise_in_process,
        raise_in_loop_of_process,
        raise_in_coroutine_of_process,
    ],
)
async def test_the_traceback_begins_at_the_users_code(func: Any, tmp_path: Path) -> None:
    """Readers look for a line of their own code."""
    async with at_work(tmp_path) as afterword:
        record = await ended(afterword, await afterword.add_task(func, "timeout"))

    lines = (record.error or "").splitlines()
    assert "Traceback (most recent call last):" == lines[0]
    assert lines[1].startswith(f'  File "{__file__}"')
    assert "TimeoutError" == lines[-1]
    assert "/afterword/" not in (record.error or "").replace(str(Path(__file__).parent), "")


# ---------------------------------------------------------------------- results


class Unserialisable:
    """A result that cannot be stored."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def return_unserialisable() -> object:
    return Unserialisable()


async def return_100_megabytes() -> bytes:
    return b"x" * 100_000_000


def return_coroutine() -> Awaitable[None]:
    return note_later("from a returned coroutine")


async def note_later(text: str) -> None:
    await asyncio.sleep(0)
    ran.append(text)


async def return_coroutine_async() -> Awaitable[None]:
    return note_later("never")


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(return_unserialisable, id="not-serialisable"),
        pytest.param(return_100_megabytes, id="100-MB"),
    ],
)
async def test_results_are_not_kept(task: Any, tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        record = await ended(afterword, await afterword.add_task(task))

    assert (JobState.COMPLETED, None) == (record.state, record.error)


async def test_a_returned_coroutine_is_awaited(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        record = await ended(afterword, await afterword.add_task(return_coroutine))

    assert JobState.COMPLETED == record.state
    assert ["from a returned coroutine"] == ran


# ---------------------------------------------------------------------- where it runs


async def note_place() -> None:
    ran.append(threading.current_thread())


def note_place_sync() -> None:
    ran.append(threading.current_thread())


async def test_async_runs_in_the_loop_and_def_in_the_workers_threads(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        await ended(afterword, await afterword.add_task(note_place))
        await ended(afterword, await afterword.add_task(note_place_sync))

    assert threading.current_thread() is ran[0]
    assert ran[1].name.startswith("afterword-task-")


# ---------------------------------------------------------------------- the context

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


async def note_user(then: str) -> None:
    ran.append(user.get())
    user.set(then)


def note_user_sync(then: str) -> None:
    ran.append(user.get())
    user.set(then)


def note_user_of_coroutine(then: str) -> Awaitable[None]:
    user.set(then)
    return note_user("nobody else")


@pytest.mark.parametrize("task", [note_user, note_user_sync])
async def test_a_task_sees_no_context_of_the_request_nor_of_other_tasks(
    task: Any, tmp_path: Path
) -> None:
    async with at_work(tmp_path, concurrency=1) as afterword:
        user.set("of the request")
        for name in ("first", "second"):
            await ended(afterword, await afterword.add_task(task, name))

    assert ["nobody", "nobody"] == ran


async def test_a_returned_coroutine_shares_its_functions_context(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        await ended(afterword, await afterword.add_task(note_user_of_coroutine, "the function"))

    assert ["the function"] == ran


# ---------------------------------------------------------------------- hostile calls


def exit_program() -> None:
    sys.exit(1)


def run_loop_of_its_own() -> None:
    asyncio.run(note_later("in a loop of its own"))


async def run_loop_inside_a_loop() -> None:
    coroutine = note_later("never")
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


@pytest.mark.parametrize(
    ("task", "state"),
    [
        pytest.param(exit_program, JobState.FAILED, id="exit"),
        pytest.param(run_loop_of_its_own, JobState.COMPLETED, id="asyncio-run"),
        pytest.param(run_loop_inside_a_loop, JobState.FAILED, id="asyncio-run-in-the-loop"),
    ],
)
async def test_hostile_calls_are_contained(task: Any, state: JobState, tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        record = await ended(afterword, await afterword.add_task(task))
        await afterword.add_task(note, "alive")
        await wait_for(lambda: "alive" in ran, description="the worker runs another job")

    assert state == record.state
