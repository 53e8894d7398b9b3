"""The tasks of the crash tests' application: healthy ones, and all kinds of faulty ones.

Each notes in the ledger when it begins and, if it gets that far, when it ends. They are in their
own module so that child processes, which import it, do not make an application.
"""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from afterword import current_task, task
from tests.crash.ledger import Ledger, occurrence

LIMIT = 1.0  # seconds: the time limit of the tasks that exceed it

# The exceptions of `raise_...`: the job's number is the index.
RAISED = (
    RecursionError,
    MemoryError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
)

ledger = Ledger(Path(os.environ["LEDGER"]))


@contextmanager
def on_record(number: int, pid: int | None = None) -> Iterator[None]:
    """Note the beginning and the end of a task.

    Args:
        pid: the worker's. Default: this process.
    """
    attempt = current_task().attempt
    ledger.write(number, attempt, "started", pid)
    yield
    ledger.write(number, attempt, "finished", pid)


# ---------------------------------------------------------------------- in the worker's process


async def work(number: int, seconds: float) -> None:
    """A healthy `async def` task."""
    with on_record(number):
        await asyncio.sleep(seconds)


def work_in_thread(number: int, seconds: float) -> None:
    """A healthy `def` task."""
    with on_record(number):
        time.sleep(seconds)


async def block(number: int, seconds: float) -> None:
    """Block the event loop, as tasks should not."""
    with on_record(number):
        time.sleep(seconds)  # noqa: ASYNC251 - that is the point


async def kill_worker(number: int, seconds: float) -> None:
    """Kill its own process."""
    with on_record(number):
        await asyncio.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)


async def kill_neighbours(number: int, seconds: float) -> None:
    """Kill its process while five other jobs run in it; complete once these have."""
    event = "started" if current_task().attempt == 1 else "accepted"
    with on_record(number):
        while len(ledger.numbers(event) - {number}) < 5:  # noqa: ASYNC110 - others write the file
            await asyncio.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)


async def hold_gil(number: int, seconds: float) -> None:
    """Hold the GIL, so that no other thread of its process runs, like bad C code."""
    with on_record(number):
        _hold_gil(seconds)


async def exit_worker(number: int, seconds: float) -> None:
    """End its process without a signal."""
    with on_record(number):
        await asyncio.sleep(seconds)
        os._exit(13)


async def segfault(number: int, seconds: float) -> None:
    """Read at a bad address, like bad C code."""
    with on_record(number):
        await asyncio.sleep(seconds)
        ctypes.string_at(0)


def _hold_gil(seconds: float) -> None:
    """Wait for a lock without releasing the GIL; no signal ends the wait."""
    api = ctypes.pythonapi
    api.PyThread_allocate_lock.restype = ctypes.c_void_p
    lock = ctypes.c_void_p(api.PyThread_allocate_lock())
    for microseconds in (0, int(seconds * 1_000_000)):  # the second time it is taken
        api.PyThread_acquire_lock_timed(lock, ctypes.c_longlong(microseconds), 0)


# ---------------------------------------------------------------------- in a process of its own


@task(executor="process")
def work_apart(number: int, seconds: float) -> None:
    """A healthy process task."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)


@task(executor="process")
def hold_gil_apart(number: int, seconds: float) -> None:
    """Hold the GIL in a process task, so that its signal handlers and threads do not run."""
    with on_record(number, os.getppid()):
        _hold_gil(seconds)


@task(executor="process")
def kill_apart(number: int, seconds: float) -> None:
    """Kill its process, as the out-of-memory killer does."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)


@task(executor="process")
def exit_apart(number: int, seconds: float) -> None:
    """End its process without a signal."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)
        os._exit(13)


@task(executor="process")
def segfault_apart(number: int, seconds: float) -> None:
    """Read at a bad address in a process task."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)
        ctypes.string_at(0)


# ---------------------------------------------------------------------- what tasks raise


@task(retries=1, retry_on=BaseException, backoff=0)
async def raise_in_loop(number: int, seconds: float) -> None:
    """Raise one of the exceptions, in the worker's event loop."""
    with on_record(number):
        await asyncio.sleep(seconds)
        raise RAISED[number % len(RAISED)]


@task(retries=1, retry_on=BaseException, backoff=0)
def raise_in_thread(number: int, seconds: float) -> None:
    """Raise one of the exceptions, in a thread."""
    with on_record(number):
        time.sleep(seconds)
        raise RAISED[number % len(RAISED)]


@task(retries=1, retry_on=BaseException, backoff=0, executor="process")
def raise_apart(number: int, seconds: float) -> None:
    """Raise one of the exceptions, in a process task."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)
        raise RAISED[number % len(RAISED)]


# ---------------------------------------------------------------------- past their limit


@task(timeout=LIMIT)
async def ignore_cancelling(number: int, seconds: float) -> None:
    """Go on although it is cancelled again and again."""
    with on_record(number):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue


@task(timeout=LIMIT)
def outlast_limit(number: int, seconds: float) -> str:
    """Exceed its limit in a thread, which cannot be stopped."""
    with on_record(number):
        time.sleep(seconds)
    return "too late"


@task(timeout=LIMIT, executor="process")
def outlast_limit_apart(number: int, seconds: float) -> str:
    """Exceed its limit in a process, which can be killed."""
    with on_record(number, os.getppid()):
        time.sleep(seconds)
    return "too late"


# ---------------------------------------------------------------------- scheduled


async def tick(lane: int) -> None:
    """Run an occurrence of a schedule; its number is made of the occurrence and the schedule."""
    with on_record(occurrence(current_task().job_id, lane)):
        await asyncio.sleep(0)


TASKS: dict[str, Callable[[int, float], Awaitable[None] | str | None]] = {
    func.__name__: func
    for func in (
        *(work, work_in_thread, block, kill_worker, kill_neighbours, hold_gil),
        *(exit_worker, segfault),
        *(work_apart, hold_gil_apart, kill_apart, exit_apart, segfault_apart),
        *(raise_in_loop, raise_in_thread, raise_apart),
        *(ignore_cancelling, outlast_limit, outlast_limit_apart),
    )
}
