"""Time limits: the record keeps to them, even if the code does not."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from afterword import Afterword, Job, JobState, current_task, task
from tests.at_work import edit, wait_for
from tests.life.site import (
    gate,
    ignore_the_end,
    note,
    seen,
    sleep_long,
    store_of,
    wait_at_gate,
    working,
)

pytestmark = pytest.mark.anyio
second = threading.Event()  # another gate


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    second.clear()
    yield
    second.set()


LATER = 10.0  # seconds; on a busy machine the end is noted late, but before the code ends
SAID = "TimeoutError: the attempt took longer than 0.2 seconds"


def took(afterword: Afterword, job: Job[Any]) -> float:
    """Return the recorded seconds of the last attempt."""
    last = store_of(afterword).attempts(job.id)[-1]
    assert last.started_at
    assert last.ended_at
    return (last.ended_at - last.started_at).total_seconds()


# ---------------------------------------------------------------------- async def


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tidies_up(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.options(timeout=0.2).add_task(sleep_long, "x")
        await job.wait(60)
        seconds = took(afterword, job)

    assert (JobState.FAILED, 1) == (job.state, job.attempt)
    assert SAID == (job.error or "").splitlines()[-1]
    assert "in sleep_long" in (job.error or "")
    assert ["x", "x tidied up"] == seen
    assert 0.2 <= seconds < LATER


async def sleep_shielded(name: str) -> None:
    await asyncio.shield(asyncio.ensure_future(sleep_until_gate(name)))


async def sleep_until_gate(name: str) -> None:
    seen.append(name)
    await wait_for(gate.is_set, description="the gate is open")
    seen.append(f"{name} ends")


async def test_what_is_shielded_goes_on_behind_the_attempt(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await afterword.options(timeout=0.2).add_task(sleep_shielded, "x")
        await job.wait(60)
        before = list(seen)
        gate.set()
        await wait_for(lambda: "x ends" in seen, description="it goes on to its end")

    assert JobState.FAILED is job.state
    assert ["x"] == before


async def test_code_that_ignores_its_end_keeps_its_slot_but_not_the_record(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One second later the job has ended; the next one runs when the code has, too."""
    async with working(store_url, concurrency=1) as afterword:
        job = await afterword.options(timeout=0.2).add_task(ignore_the_end, "stubborn")
        await job.wait(60)
        seconds = took(afterword, job)
        following = await afterword.add_task(note, "next")
        await asyncio.sleep(0.1)
        waiting = (await following.refresh()).state
        gate.set()
        await following.wait(60)
        after = await job.refresh()

    assert (JobState.FAILED, SAID) == (after.state, (after.error or "").splitlines()[-1])
    assert after.result is None
    assert 1.2 <= seconds < LATER
    assert JobState.QUEUED is waiting
    assert ["stubborn", "stubborn goes on", "next"] == seen
    assert f"overrun job={job.id}" in caplog.text
    assert "degraded: it keeps its slot" in caplog.text


async def test_a_task_may_have_time_limits_of_its_own(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await afterword.options(timeout=5).add_task(give_up_itself)
        await job.wait(60)

    assert (JobState.COMPLETED, "gave up") == (job.state, job.result)


async def give_up_itself() -> str:
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)
    except TimeoutError:
        return "gave up"
    return "never"


# ---------------------------------------------------------------------- def


async def test_another_thread_takes_the_place_of_one_that_cannot_be_stopped(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(store_url, concurrency=1) as afterword:
        job = await afterword.options(timeout=0.2).add_task(wait_at_gate, "stuck")
        following = await afterword.add_task(note, "next")
        await following.wait(60)
        seconds = took(afterword, await job.wait(60))
        gate.set()
        await wait_for(lambda: "stuck ends" in seen, description="it ends at last")
        await (await afterword.add_task(note, "last")).wait(60)
        after = await job.refresh()

    assert ["stuck", "next", "stuck ends", "last"] == seen
    assert (JobState.FAILED, 1, SAID) == (after.state, after.attempt, after.error)
    assert after.result is None
    assert 0.2 <= seconds < LATER
    assert "another thread takes its place" in caplog.text


async def test_when_too_many_threads_are_stuck_the_worker_is_degraded_and_says_so(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There are at most twice as many threads as slots."""
    async with working(file_url, concurrency=1) as afterword:
        limited = afterword.options(timeout=0.1)
        stuck = [await limited.add_task(wait_at_gate, name) for name in "ab"]
        for job in stuck:
            await job.wait(60)
        following = await afterword.add_task(note, "next")
        await asyncio.sleep(0.1)
        waiting = (await following.refresh()).state
        gate.set()
        await following.wait(60)

    assert [JobState.FAILED] * 2 == [job.state for job in stuck]
    assert JobState.QUEUED is waiting
    assert 1 == caplog.text.count("another thread takes its place")
    assert 1 == caplog.text.count("degraded: it keeps its slot")


def wait_for_the_second(name: str) -> None:
    """Exceed the limit, and end once the test has seen that."""
    second.wait(60)


async def test_replaced_threads_go_when_they_can(file_url: str) -> None:
    """After many overruns, there are as many threads as slots, and all slots work."""

    def threads() -> int:
        return sum(each.name.startswith("afterword-task") for each in threading.enumerate())

    others = threads()
    async with working(file_url, concurrency=2) as afterword:
        for _ in range(4):
            limited = afterword.options(timeout=0.05)
            jobs = [await limited.add_task(wait_for_the_second, name) for name in "ab"]
            assert [JobState.FAILED] * 2 == [(await job.wait(60)).state for job in jobs]
            second.set()
            await wait_for(lambda: threads() <= others + 2, description="the late ones have gone")
            second.clear()
        await wait_for(lambda: threads() <= others + 2, description="as many threads as slots")
        both = [await afterword.add_task(wait_at_gate, name) for name in "ab"]
        await wait_for(lambda: sorted(seen) == ["a", "b"], description="both run at once")
        gate.set()
        assert [JobState.COMPLETED] * 2 == [(await job.wait(60)).state for job in both]


def look_whether_it_is_late() -> str:
    while not current_task().cancelled:
        time.sleep(0.005)
    return "stopped"


async def test_a_thread_is_told_that_its_time_is_over(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await afterword.options(timeout=0.1).add_task(look_whether_it_is_late)
        await job.wait(60)

    assert (JobState.FAILED, None) == (job.state, job.result)


# ---------------------------------------------------------------------- both


# Long enough for the second attempt, even if the machine pauses for most of a second.
@task(timeout=1.5, retries=1, backoff=0)
async def slow_at_first() -> int:
    if current_task().attempt == 1:
        await asyncio.sleep(60)
    return current_task().attempt


@task(timeout=timedelta(milliseconds=1500), retries=1, backoff=0)
def slow_at_first_in_a_thread() -> int:
    if current_task().attempt == 1:
        gate.wait(60)
        seen.append("late")
        return 1
    return current_task().attempt


@pytest.mark.parametrize("func", [slow_at_first, slow_at_first_in_a_thread])
async def test_what_took_too_long_is_tried_again(func: Any, store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(func)).wait(60)
        attempts = store_of(afterword).attempts(job.id)

    assert (JobState.COMPLETED, 2, 2) == (job.state, job.attempt, job.result)
    assert ["failed", "completed"] == [each.outcome for each in attempts]


async def test_the_late_end_of_one_attempt_does_not_touch_the_next(
    file_url: str, tmp_path: Path
) -> None:
    """The first attempt returns while the second runs, which has no time limit."""
    async with working(file_url) as afterword:
        job = await (await afterword.options(timeout=0.2).add_task(both_run)).wait(60)
        edit(tmp_path, "UPDATE afterword_history SET options = json_remove(options, '$.timeout')")
        store_of(afterword).retry([job.id])
        await wait_for(lambda: seen == [1, 2], description="the second attempt runs")
        gate.set()
        await wait_for(lambda: "1 ends" in seen, description="the first one ends")
        await asyncio.sleep(0.05)
        between = (await job.refresh()).state
        second.set()
        await job.wait(60)

    assert JobState.RUNNING is between
    assert (JobState.COMPLETED, 2, 2) == (job.state, job.attempt, job.result)


def both_run() -> int:
    number = current_task().attempt
    seen.append(number)
    if number == 1:
        gate.wait(60)
        seen.append("1 ends")
    else:
        second.wait(60)
    return number


async def test_waiting_for_a_slot_does_not_count(file_url: str) -> None:
    async with working(file_url, concurrency=1) as afterword:
        await afterword.add_task(wait_at_gate, "first")
        job = await afterword.options(timeout=2).add_task(note, "x")
        await asyncio.sleep(2.1)
        gate.set()
        await job.wait(60)

    assert JobState.COMPLETED is job.state


@task(timeout=60)
async def sleep_with_a_limit() -> None:
    await asyncio.sleep(60)


async def test_the_call_goes_before_the_task(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await afterword.options(timeout=0.1).add_task(sleep_with_a_limit)
        await job.wait(60)

    assert JobState.FAILED is job.state
