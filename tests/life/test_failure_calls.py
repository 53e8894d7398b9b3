"""Functions that are called when a job has failed for good: arguments, times, and errors."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wireup import Injected

from afterword import Afterword, Cancel, JobRecord, JobState, current_task, task
from afterword.client import failures
from afterword.errors import ConfigurationError, JobFailed, NoContainer, UnknownTask
from afterword.in_process import ProcessDied
from afterword.model.job import NewJob, new_id
from afterword.worker import worker
from tests.at_work import store_jobs, wait_for
from tests.life.process import kill, started
from tests.life.site import fail, gate, note, serving, sleep_long, store_of, wait_at_gate, working
from tests.life.tasks import at_most_once, names

pytestmark = pytest.mark.anyio

Call = tuple[JobRecord, BaseException, int]
told: list[Call] = []
told_of_own: list[Call] = []
threads: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    told.clear()
    told_of_own.clear()
    threads.clear()
    yield
    gate.set()


def tell(job: JobRecord, error: BaseException, attempt: int) -> None:
    """Note the failure, and the thread of the call."""
    threads.append(threading.current_thread())
    told.append((job, error, attempt))


async def tell_async(job: JobRecord, error: BaseException, attempt: int) -> None:
    """Note the failure, in the event loop."""
    await asyncio.sleep(0)
    tell(job, error, attempt)


def tell_own(job: JobRecord, error: BaseException, attempt: int) -> None:
    """Note the failure: the function of one task."""
    told_of_own.append((job, error, attempt))


@task(retries=2, backoff=0, on_failure_call=tell_own)
def never_works(name: str) -> None:
    raise ConnectionError(f"{name}: attempt {current_task().attempt}")


@task(timeout=0.1)
async def too_slow() -> None:
    await asyncio.sleep(60)


@task(timeout=0.1)
def too_slow_in_a_thread() -> None:
    wait_at_gate("slow")


@task(executor="process")
def fail_in_a_process(text: str) -> None:
    raise LookupError(text)


@task(executor="process")
def die_in_a_process() -> None:
    os._exit(3)


def give_up() -> None:
    raise Cancel("nothing to do")


async def first_told() -> Call:
    """Wait for the first note; returns it."""
    await wait_for(lambda: told, description="the function is called")
    return told[0]


@pytest.mark.parametrize("func", [tell, tell_async])
async def test_it_is_called_with_the_job_the_exception_and_the_attempt(
    func: Callable[..., Any], store_url: str
) -> None:
    """The call comes after the failure is stored; the traceback begins in the task."""
    async with working(store_url) as afterword:
        assert func is afterword.on_failure(func)
        await afterword.add_task(note, "works")
        job = await afterword.options(tags=["shop"]).add_task(fail, "no paper")
        record, error, attempt = await first_told()

    assert (job.id, JobState.FAILED, ("shop",)) == (record.id, record.state, record.tags)
    assert (RuntimeError, ("no paper",), 1) == (type(error), error.args, attempt)
    assert error.__traceback__ is not None
    assert "fail" == error.__traceback__.tb_frame.f_code.co_name
    assert 1 == len(told)
    assert (func is tell_async) == (threads[0] is threading.main_thread())


@dataclass(frozen=True)
class Declined(Exception):
    """None of its attributes can be set, not even those that Python sets itself."""

    code: int


def decline() -> None:
    raise Declined(51)


async def test_an_exception_that_cannot_be_changed_is_told(file_url: str) -> None:
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        await afterword.add_task(decline)
        _, error, _ = await first_told()

    assert Declined(51) == error
    assert error.__traceback__ is not None
    assert "decline" == error.__traceback__.tb_frame.f_code.co_name


async def test_it_is_called_once_when_no_retry_is_left(store_url: str) -> None:
    """The task's function comes first, then those for all tasks."""
    async with working(store_url) as afterword:
        afterword.on_failure(tell)
        await afterword.add_task(never_works, "x")
        _, error, attempt = await first_told()

    assert ("x: attempt 3", 3) == (str(error), attempt)
    assert (1, 1) == (len(told), len(told_of_own))
    assert error is told_of_own[0][1]


async def test_what_is_cancelled_has_not_failed(file_url: str) -> None:
    """This holds for all three: by the task, by a person, after an earlier failure."""

    def add(background_tasks: Any) -> list[Any]:
        return [background_tasks.add_task(func, *args) for func, *args in calls]

    calls: list[Any] = [(give_up,), (note, "behind it")]
    async with serving(file_url, add) as site:
        site.afterword.on_failure(tell)
        await site.post()
        calls[:] = [(fail, "first"), (note, "behind it")]
        await site.post()
        job = await site.afterword.add_task(sleep_long, "x")
        await job.cancel()
        await first_told()

    assert ["first"] == [str(error) for _, error, _ in told]


@pytest.mark.parametrize("func", [too_slow, too_slow_in_a_thread])
async def test_a_time_limit_is_told_as_a_timeout_error(
    func: Callable[..., Any], file_url: str
) -> None:
    """This holds for code that could be stopped and for code that could not."""
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        await afterword.add_task(func)
        _, error, _ = await first_told()
        gate.set()

    assert TimeoutError is type(error)
    assert "longer than 0.1 seconds" in str(error)


async def test_processes_fail_with_what_this_process_knows(file_url: str) -> None:
    """The exception stays in the child process; its text comes with the job."""
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        await (await afterword.add_task(fail_in_a_process, "no shelf")).wait(60)
        await (await afterword.add_task(die_in_a_process)).wait(60)
        await wait_for(lambda: len(told) == 2, description="both are told")

    (raised, in_child, _), (_, died, _) = told
    assert JobFailed is type(in_child)
    assert str(in_child) == raised.error
    assert str(in_child).endswith("LookupError: no shelf")
    assert ProcessDied is type(died)


async def test_a_job_whose_worker_was_lost_is_told_where_it_is_recovered(
    store_url: str, ledger: Path
) -> None:
    """A process without a worker is told, too; the reason is the job's error."""
    async with working(store_url, worker=False) as afterword:
        afterword.on_failure(tell)
        with started("work", store_url) as process:
            job = await afterword.add_task(at_most_once, "x")
            await wait_for(lambda: names(ledger, "begin"), description="it runs")
            kill(process, store_of(afterword))
            record, error, attempt = await first_told()

    assert (job.id, 1, JobFailed) == (record.id, attempt, type(error))
    assert str(error) == record.error
    assert "worker" in str(error)


async def test_a_job_that_no_worker_can_run_is_told_with_the_reason(
    file_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails after a week in which no worker could run it."""
    monkeypatch.setattr(worker, "PARK_LIMIT", -1.0)
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        await store_jobs(afterword, [NewJob(id=new_id(), task="gone.module:gone")])
        _, error, _ = await first_told()

    assert UnknownTask is type(error)


class Mailer:
    """A service of a container that this application does not have."""


def needs_a_container(mailer: Injected[Mailer]) -> None:
    raise AssertionError(mailer)


async def test_a_dependency_that_cannot_be_had_is_told(file_url: str) -> None:
    """The exception names the parameter."""
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        await store_jobs(afterword, [NewJob(id=new_id(), task=f"{__name__}:needs_a_container")])
        _, error, _ = await first_told()

    assert NoContainer is type(error)


async def test_a_call_that_is_not_stored_is_told_as_well(file_url: str) -> None:
    """Its record has the fields that are known without a store."""

    def closure() -> None:
        raise RuntimeError("not stored, and failed")

    async with serving(file_url, lambda tasks: [tasks.add_task(closure)]) as site:
        site.afterword.on_failure(tell)
        (job_id,) = await site.post()
        record, error, attempt = await first_told()

    assert (job_id, JobState.FAILED, 1) == (record.id, record.state, attempt)
    assert "not stored, and failed" == str(error)


async def test_its_own_error_changes_nothing(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged, the next function is called, and the next job runs."""

    def broken(job: JobRecord, error: BaseException, attempt: int) -> None:
        raise SystemExit("no such channel")

    async def broken_too(job: JobRecord, error: BaseException, attempt: int) -> None:
        raise SystemExit("no such project")

    async with working(file_url) as afterword:
        for func in (broken, broken_too, tell):
            afterword.on_failure(func)
        failed = await (await afterword.add_task(fail, "x")).wait(60)
        await first_told()
        works = await (await afterword.add_task(note, "y")).wait(60)

    assert (JobState.FAILED, JobState.COMPLETED) == (failed.state, works.state)
    assert "no such channel" in caplog.text
    assert "no such project" in caplog.text
    assert 2 == caplog.text.count("failure_call_failed function=")


@pytest.mark.parametrize("in_loop", [True, False])
async def test_a_slow_one_is_given_up(
    in_loop: bool, file_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a warning; the next function is called, and the shutdown does not wait."""
    monkeypatch.setattr(failures, "TIME_LIMIT", 0.1)

    def slow(*_: Any) -> None:
        gate.wait(60)

    async def slow_in_loop(*_: Any) -> None:
        await asyncio.sleep(60)

    async with working(file_url) as afterword:
        afterword.on_failure(slow_in_loop if in_loop else slow)
        afterword.on_failure(tell)
        await afterword.add_task(fail, "x")
        await first_told()

    assert "failure_call_late function=" in caplog.text


async def test_hanging_ones_stay_few(
    file_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread cannot be stopped, so while too many hang, no more are started."""
    monkeypatch.setattr(failures, "TIME_LIMIT", 0.05)
    monkeypatch.setattr(failures, "FREE_WITHIN", 0.05)
    monkeypatch.setattr(failures, "AT_ONCE", 2)

    def hang(*call: Any) -> None:
        told.append(call)
        gate.wait(60)

    async with working(file_url) as afterword:
        afterword.on_failure(hang)
        for number in range(5):
            await (await afterword.add_task(fail, str(number))).wait(60)
        await wait_for(
            lambda: 3 == caplog.text.count("2 earlier calls have not ended"),
            description="the others are not started",
        )

    assert 2 == len(told)


async def test_it_is_logged_if_there_is_no_thread_for_it(
    file_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged like any other error of a call; the next function is called."""

    class NoThread(threading.Thread):
        def start(self) -> None:
            if self.name == "afterword-failure":
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(threading, "Thread", NoThread)
    async with working(file_url) as afterword:
        afterword.on_failure(tell)
        afterword.on_failure(tell_async)
        await afterword.add_task(fail, "x")
        await first_told()

    assert "can't start new thread" in caplog.text
    assert [threading.main_thread()] == threads


async def test_a_shutdown_waits_for_the_calls_of_the_last_failures(file_url: str) -> None:
    """The calls are made before the store is closed."""
    async with working(file_url) as afterword:
        afterword.on_failure(tell_async)
        await (await afterword.add_task(fail, "at the end")).wait(60)

    assert ["at the end"] == [str(error) for _, error, _ in told]


@pytest.mark.parametrize("func", ["text", lambda: None, lambda job, error: None])
def test_a_function_that_cannot_be_called_so_is_refused(func: Any, file_url: str) -> None:
    """Registering it raises; the message shows a correct function."""
    for register in (Afterword(None, file_url).on_failure, lambda it: task(on_failure_call=it)):
        with pytest.raises(ConfigurationError, match=r"async def alert\(job, error, attempt\)"):
            register(func)
