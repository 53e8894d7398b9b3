"""`@task(executor="process")`: attempts in child processes of a worker."""

import asyncio
import ctypes
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from afterword import Afterword, Cancel, Job, JobState, Retry, current_task, task
from afterword.worker.runner import Runner
from tests.at_work import at_work, ended, record, wait_for
from tests.helpers import is_gone

pytestmark = pytest.mark.anyio


@task(executor="process")
def compute(number: int) -> dict[str, int]:
    """Hold the interpreter's lock for a while."""
    return {"sum": sum(range(number)), "pid": os.getpid()}


@task(executor="process")
async def compute_async(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@task(executor="process", retries=2, backoff=0)
def crash_once(how: str) -> str:
    context = current_task()
    if context.attempt > 1:
        return f"attempt {context.attempt}"
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    raise SystemExit("out")


@task(executor="process", on_crash="fail", retries=5, backoff=0)
def crash_for_good() -> None:
    os._exit(7)


@task(executor="process", timeout=0.3)
def compute_too_long() -> int:
    return sum(range(10**12))


@task(executor="process")
def compute_for_ever(marker: str) -> int:
    Path(marker).write_text(str(os.getpid()))
    return sum(range(10**12))


async def pid_in(marker: Path) -> int:
    """Wait until a process has written down its id; returns it."""
    await wait_for(lambda: marker.exists() and marker.read_text(), description="it computes")
    return int(marker.read_text())  # noqa: ASYNC240 - a small file


@task(executor="process")
def wait_for_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


@task(executor="process", retries=3, backoff=0)
def say(what: str) -> None:
    logging.getLogger("tests.child").warning("attempt %d says it", current_task().attempt)
    if what == "cancel":
        raise Cancel("nothing to do")
    if current_task().attempt == 1:
        raise Retry("once more", delay=0)


@task(executor="process")
def add_later() -> str:
    return current_task().options(delay=3600).add_task(compute, 1).id


async def test_a_job_that_it_adds_has_its_delay(tmp_path: Path) -> None:
    """The store's clock counts, not the child's."""
    async with at_work(tmp_path) as afterword:
        parent = await (await afterword.add_task(add_later)).wait(60)
        (child,) = afterword.runtime.store.get([str(parent.result)])

    assert JobState.QUEUED is child.state
    assert 3600 == round((child.run_at - child.created_at).total_seconds())


async def test_what_it_returns_comes_back(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        jobs = [await afterword.add_task(compute, 10) for _ in range(2)]
        [first, second] = [(await job.wait(60)).result for job in jobs]
        other = (await (await afterword.add_task(compute_async, 21)).wait(60)).result

    assert first is not None
    assert second is not None
    assert 45 == first["sum"] == second["sum"]
    assert os.getpid() not in (first["pid"], second["pid"])
    assert 42 == other


@pytest.mark.parametrize("how", ["segfault", "exit", "system-exit"])
async def test_a_crash_fails_one_attempt_and_harms_nobody_else(how: str, tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        neighbour = await afterword.add_task(compute, 10**7)
        job = await afterword.add_task(crash_once, how)
        found = await ended(afterword, job)
        attempts = afterword.runtime.store.attempts(job.id)
        beside = await ended(afterword, neighbour)

    expected = {
        "segfault": "killed by SIGSEGV",
        "exit": "exit code 7",
        "system-exit": "SystemExit: out",
    }
    assert expected[how] in str(attempts[0].error)
    assert (JobState.COMPLETED, 1) == (beside.state, beside.attempt)
    if how == "system-exit":  # not an error that is retried
        assert (JobState.FAILED, 1) == (found.state, found.attempt)
    else:
        assert (JobState.COMPLETED, '"attempt 2"') == (found.state, found.result)


async def test_on_crash_fail_is_no_second_attempt(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        found = await ended(afterword, await afterword.add_task(crash_for_good))

    assert (JobState.FAILED, 1) == (found.state, found.attempt)
    assert "exit code 7" in str(found.error)


async def test_its_time_limit_kills_the_process(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        found = await ended(afterword, await afterword.add_task(compute_too_long))

    assert JobState.FAILED is found.state
    assert "took longer than 0.3 seconds" in str(found.error)
    assert found.started_at is not None
    assert found.finished_at is not None


async def test_who_waits_for_a_process_does_not_lose_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit counts from the start of the code, not during the wait for a free process."""
    monkeypatch.setattr("afterword.worker.runner._cores", lambda: 1)
    async with at_work(tmp_path) as afterword:
        first = await afterword.add_task(wait_for_file, str(tmp_path / "gate"))
        limited = afterword.options(timeout=1.5)  # enough for a process that pauses for a moment
        second = await limited.add_task(compute, 10)
        third = await limited.add_task(compute_async, 1)
        await asyncio.sleep(1.7)
        (tmp_path / "gate").touch()
        states = [(await ended(afterword, job)).state for job in (first, second, third)]

    assert [JobState.COMPLETED] * 3 == states


async def test_cancelling_kills_the_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with at_work(tmp_path) as afterword:
        job = await afterword.add_task(compute_for_ever, str(marker))
        pid = await pid_in(marker)
        asked = await job.cancel("not wanted any more")
        found = await ended(afterword, job)
        await wait_for(lambda: is_gone(pid), description="its process is gone")

    assert asked
    assert (JobState.CANCELLED, "not wanted any more") == (found.state, found.error)


async def test_a_lost_lease_kills_it(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with at_work(tmp_path, lease=0.5) as afterword:
        job = await afterword.add_task(compute_for_ever, str(marker))
        pid = await pid_in(marker)
        afterword.runtime.store.leave(afterword.runtime.leases.worker)
        await wait_for(lambda: is_gone(pid), description="its process is gone")
        await job.cancel()
        await ended(afterword, job)


async def test_the_policy_and_the_signals_of_a_task_count_there_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(tmp_path) as afterword:
        again = await ended(afterword, await afterword.add_task(say, "retry"))
        ends = await ended(afterword, await afterword.add_task(say, "cancel"))

    assert (JobState.COMPLETED, 2, 1) == (again.state, again.attempt, again.failures)
    assert (JobState.CANCELLED, "nothing to do") == (ends.state, ends.error)
    assert "attempt 2 says it" in caplog.text


async def test_a_shutdown_gives_it_back(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with at_work(tmp_path, grace=0) as afterword:
        job = await afterword.add_task(compute_for_ever, str(marker))
        await wait_for(marker.exists, description="it computes")
    script = Afterword(None, afterword.url)
    found = await record(script, job)
    script.close()

    assert afterword.drained
    assert (JobState.QUEUED, 1, 0) == (found.state, found.interrupted, found.lost)


async def all_ended(afterword: Afterword, jobs: list[Job[Any]]) -> bool:
    return all([(await record(afterword, job)).state.final for job in jobs])


async def test_the_event_loop_stays_free_while_ten_of_them_compute(tmp_path: Path) -> None:
    """They hold their own GILs: this process only waits for a core."""
    async with at_work(tmp_path) as afterword:
        jobs = [await afterword.add_task(compute, 2 * 10**7) for _ in range(10)]
        waits = []
        while not await all_ended(afterword, jobs):
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - before)
        states = [(await record(afterword, job)).state for job in jobs]

    waits.sort()
    assert [JobState.COMPLETED] * 10 == states
    assert waits[len(waits) // 2] < 0.25  # one of these in this process would take longer


async def test_a_task_without_an_importable_module_fails_with_the_reason(tmp_path: Path) -> None:
    """The worker has the module itself; the error says that a child cannot import it."""
    async with at_work(tmp_path) as afterword:
        runner: Runner = afterword.runtime.worker._runner  # type: ignore[union-attr]
        processes: Any = runner._processes

        def refuse(*_: object) -> None:
            raise LookupError("no such module")

        processes.start = refuse
        found = await ended(afterword, await afterword.add_task(compute, 1))

    assert JobState.FAILED is found.state
    assert "no such module" in str(found.error)
