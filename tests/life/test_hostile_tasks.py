"""Misbehaving tasks: their jobs end by the rules, and the worker survives."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from afterword import Job, JobState, current_task, task, telemetry
from tests.at_work import wait_for
from tests.life.site import fail, gate, note, seen, working

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- what tasks raise

ERRORS: dict[str, Callable[[], BaseException]] = {
    "recursion": lambda: RecursionError("deep"),
    "memory": MemoryError,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator-exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "stop-iteration": StopIteration,
    "nul": lambda: ValueError("a\0b"),
    "surrogate": lambda: ValueError("\ud800"),
}
NO_EXCEPTIONS = {"exit", "interrupt", "generator-exit", "cancelled"}  # but BaseExceptions


def raise_it(name: str) -> None:
    error = ERRORS[name]()
    raise error


@task(retries=1, backoff=0)
def in_a_thread(name: str) -> None:
    seen.append(current_task().attempt)
    raise_it(name)


@task(retries=1, backoff=0)
async def in_the_loop(name: str) -> None:
    seen.append(current_task().attempt)
    await asyncio.sleep(0)
    raise_it(name)


@task(retries=1, backoff=0)
def in_a_returned_coroutine(name: str) -> Awaitable[None]:
    return in_the_loop(name)


@task(retries=1, backoff=0, retry_on=(SystemExit, KeyboardInterrupt, asyncio.CancelledError))
async def whatever_happens(name: str) -> None:
    seen.append(current_task().attempt)
    raise_it(name)


@pytest.mark.parametrize("name", ERRORS)
async def test_what_is_an_exception_is_tried_again_and_nothing_else(
    name: str, store_url: str
) -> None:
    """The worker has one slot: each attempt must free it."""
    async with working(store_url, concurrency=1) as afterword:
        ways: list[Callable[..., Any]] = [in_a_thread, in_the_loop, in_a_returned_coroutine]
        jobs = [await afterword.add_task(way, name) for way in ways]
        for job in jobs:
            await job.wait(60)
        neighbour = await (await afterword.add_task(note, "alive")).wait(60)

    attempts = 1 if name in NO_EXCEPTIONS else 2
    assert [(JobState.FAILED, attempts)] * 3 == [(job.state, job.attempt) for job in jobs]
    assert all(0 < len(job.error or "") < 20_000 for job in jobs)
    assert JobState.COMPLETED is neighbour.state


@pytest.mark.parametrize("name", ["exit", "interrupt", "cancelled"])
async def test_a_task_may_say_that_it_is_worth_a_retry(name: str, file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(whatever_happens, name)).wait(60)

    assert (JobState.FAILED, 2) == (job.state, job.attempt)


class _Refusing(type):
    """A metaclass whose classes cannot be used in `isinstance`."""

    def __instancecheck__(cls, instance: object) -> bool:
        raise LookupError("no answer")


class Odd(Exception, metaclass=_Refusing):
    """An exception with such a class."""


@task(retries=1, retry_on=(Odd,))
def odd_in_a_thread() -> None:
    raise ValueError("mistake")


@task(retries=1, retry_on=(Odd,))
async def odd_in_the_loop() -> None:
    raise ValueError("mistake")


@task(retries=1, retry_on=(Odd,), executor="process")
def odd_in_a_process() -> None:
    raise ValueError("mistake")


async def test_a_rule_that_raises_fails_the_job(file_url: str) -> None:
    """The job does not run for ever, and the thread runs the next one."""
    async with working(file_url, concurrency=1) as afterword:
        ways: list[Callable[..., Any]] = [odd_in_a_thread, odd_in_the_loop, odd_in_a_process]
        jobs = [await (await afterword.add_task(way)).wait(60) for way in ways]
        neighbour = await (await afterword.add_task(note, "alive")).wait(60)

    assert [JobState.FAILED] * 3 == [job.state for job in jobs]
    assert all("LookupError: no answer" in (job.error or "") for job in jobs)
    assert JobState.COMPLETED is neighbour.state


async def test_a_task_factory_that_raises_fails_the_job(file_url: str) -> None:
    """The user's task factory raises; the slot becomes free again."""
    loop = asyncio.get_running_loop()
    async with working(file_url, concurrency=1) as afterword:
        usual = loop.get_task_factory()

        def refuse(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
            if "_run_async" in getattr(coroutine, "__qualname__", ""):
                raise LookupError("no task for this one")
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(refuse)
        try:
            job = await (await afterword.add_task(in_the_loop, "memory")).wait(60)
        finally:
            loop.set_task_factory(usual)
        neighbour = await (await afterword.add_task(note, "alive")).wait(60)

    assert JobState.FAILED is job.state
    assert "LookupError: no task for this one" in (job.error or "")
    assert JobState.COMPLETED is neighbour.state


async def cancel_its_own_asyncio_task(then: str) -> str:
    this = asyncio.current_task()
    assert this
    this.cancel()
    if then == "wait":
        await asyncio.sleep(0)
    return "returned"


@pytest.mark.parametrize(
    ("then", "state"), [("wait", JobState.FAILED), ("return", JobState.COMPLETED)]
)
async def test_a_coroutine_that_cancels_itself(then: str, state: JobState, file_url: str) -> None:
    """The job is not cancelled, because no one has asked for it."""
    async with working(file_url, concurrency=1) as afterword:
        job = await (await afterword.add_task(cancel_its_own_asyncio_task, then)).wait(60)
        await (await afterword.add_task(note, "alive")).wait(60)

    assert state is job.state
    assert ["alive"] == seen


# ---------------------------------------------------------------------- exits and forks


def exit_program() -> None:
    sys.exit("bye")


def run_loop_of_its_own() -> str:
    return asyncio.run(say("from a loop of its own"))


async def say(text: str) -> str:
    await asyncio.sleep(0)
    return text


def handle_signals() -> None:
    """Set a signal handler in a thread: Python raises."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


async def handle_signals_in_the_loop() -> str:
    """Set a signal handler in the main thread, which works as it should."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, before)
    return "set and set back"


async def close_the_loop() -> None:
    asyncio.get_running_loop().close()


def fork_and_exit() -> int:
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def fork_and_exit_in_the_loop() -> int:
    return fork_and_exit()


async def leave_tasks_behind() -> str:
    """Leave asyncio tasks behind: they do not affect the attempt."""
    background.append(asyncio.ensure_future(say("later")))
    return "done"


background: list["asyncio.Future[str]"] = []


def spoil_standard_streams() -> str:
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        print("nowhere")
    return "done"


def start_threads() -> str:
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(0.01,)).start()
    return "done"


HOSTILE: list[tuple[Callable[..., Any], JobState, Any]] = [
    (exit_program, JobState.FAILED, None),
    (run_loop_of_its_own, JobState.COMPLETED, "from a loop of its own"),
    (handle_signals, JobState.FAILED, None),
    (handle_signals_in_the_loop, JobState.COMPLETED, "set and set back"),
    (close_the_loop, JobState.FAILED, None),
    (fork_and_exit, JobState.COMPLETED, 7),
    (fork_and_exit_in_the_loop, JobState.COMPLETED, 7),
    (leave_tasks_behind, JobState.COMPLETED, "done"),
    (spoil_standard_streams, JobState.COMPLETED, "done"),
    (start_threads, JobState.COMPLETED, "done"),
]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("func", "state", "result"),
    [pytest.param(*each, id=each[0].__name__) for each in HOSTILE],
)
async def test_hostile_calls_are_contained(
    func: Callable[..., Any], state: JobState, result: Any, store_url: str
) -> None:
    async with working(store_url, concurrency=1) as afterword:
        job = await (await afterword.add_task(func)).wait(60)
        for text in ("still", "alive"):
            await (await afterword.add_task(note, text)).wait(60)

    assert (state, result) == (job.state, job.result)
    assert ["still", "alive"] == seen


def fork_and_return() -> int:
    """Return in a fork, too: the child must not end the job of its parent."""
    child = os.fork()
    if child:
        children.append(child)
        gate.wait(60)
    return os.getpid()


children: list[int] = []


def bury_children() -> None:
    """Kill the forks: they may hang, because threads of their parent are missing."""
    while children:
        child = children.pop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_fork_that_returns_ends_nothing(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(fork_and_return)
        await wait_for(lambda: children, description="it has forked")
        await asyncio.sleep(0.3)
        between = (await job.refresh()).state
        gate.set()
        await job.wait(60)
        await (await afterword.add_task(note, "alive")).wait(60)
    bury_children()

    assert JobState.RUNNING is between
    assert (JobState.COMPLETED, os.getpid()) == (job.state, job.result)


# ---------------------------------------------------------------------- logging


class Raising(logging.Handler):
    """A log handler that raises."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Raise."""
        raise RuntimeError("no log today")


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each log line raise."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    raising = Raising()
    telemetry.logger.addHandler(raising)
    yield
    telemetry.logger.removeHandler(raising)


@task(retries=2, backoff=0)
async def fail_quickly(text: str) -> None:
    fail(text)


@pytest.mark.usefixtures("no_log")
async def test_a_logger_that_raises_changes_nothing(store_url: str) -> None:
    """This holds for retries, time limits, results and schedules, which all log."""
    async with working(store_url, concurrency=1) as afterword:
        failing = await (await afterword.add_task(fail_quickly, "x")).wait(60)
        limited = afterword.options(timeout=0.05)
        late = await (await limited.add_task(asyncio_sleep)).wait(60)
        odd = await (await afterword.add_task(give_object)).wait(60)
        cancelled = await afterword.options(delay=60).add_task(note, "never")
        await cancelled.cancel()

    states = [job.state for job in (failing, late, odd, cancelled)]
    assert [JobState.FAILED, JobState.FAILED, JobState.COMPLETED, JobState.CANCELLED] == states
    assert 3 == failing.attempt


async def asyncio_sleep() -> None:
    await asyncio.sleep(60)


def give_object() -> object:
    return object()


# ---------------------------------------------------------------------- redact


def raising(_: str) -> str:
    raise RuntimeError("no redaction today")


def exiting(_: str) -> str:
    raise SystemExit(3)


hung: list[str] = []


def hanging(text: str) -> str:
    hung.append(text)
    gate.wait(60)
    return "never"


def no_text(_: str) -> str:
    return None  # type: ignore[return-value]


def odd_text(_: str) -> str:
    return "\ud800\0" + "x" * 1_000_000


REDACTIONS = [raising, exiting, no_text, odd_text]


async def fail_in_the_loop(text: str) -> None:
    fail(text)


async def failures(afterword: Any, texts: str) -> list[Job[Any]]:
    """Add jobs that fail: in threads, and in the event loop."""
    jobs = [
        await afterword.add_task(func, text) for text in texts for func in (fail, fail_in_the_loop)
    ]
    return [await job.wait(60) for job in jobs]


@pytest.mark.parametrize("redact", REDACTIONS)
async def test_a_redaction_that_fails_keeps_no_secret_and_no_job(
    redact: Callable[[str], str], store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There are more failures than slots, so each must free its slot."""
    async with working(store_url, concurrency=1, redact=redact) as afterword:
        jobs = await failures(afterword, "ab")
        await (await afterword.add_task(note, "alive")).wait(60)

    assert [JobState.FAILED] * 4 == [job.state for job in jobs]
    assert all("RuntimeError: a" not in (job.error or "") for job in jobs)
    assert all(len(job.error or "") < 20_000 for job in jobs)
    assert "RuntimeError: a" not in caplog.text


async def test_a_redaction_that_hangs_is_not_waited_for_for_long(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is waited for once, and not again before that call has ended."""
    hung.clear()
    async with working(file_url, concurrency=2, redact=hanging) as afterword:
        jobs = await failures(afterword, "abcd")
        await (await afterword.add_task(note, "alive")).wait(60)

    assert [JobState.FAILED] * 8 == [job.state for job in jobs]
    assert all("not kept" in (job.error or "") for job in jobs)
    assert len(hung) <= 4  # of eight: those that fail before the first second is over
    assert "RuntimeError: a" not in caplog.text
