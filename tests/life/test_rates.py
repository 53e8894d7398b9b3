"""`rate=`: a limit of the starts in any window of time, across all workers."""

import time
from pathlib import Path
from typing import Any

import pytest

from afterword import Job, JobState, task
from afterword.fastapi import BackgroundTasks
from tests.at_work import wait_for
from tests.life.site import note, seen, serving, working
from tests.life.tasks import lines, names, write

pytestmark = pytest.mark.anyio


@task(rate="4/s")
def four_a_second(name: str) -> None:
    write("begin", name)


@task(rate="2/3s", key=lambda customer: customer)
async def two_each_in_three_seconds(customer: str) -> None:
    write("begin", customer)


@task(rate="3/2s", limit=1)
def three_in_two_seconds_one_at_a_time(name: str) -> None:
    write("begin", name)
    time.sleep(0.02)
    write("end", name)


@task(rate="2/2s", retries=3, backoff=0)
def two_in_two_seconds_and_never_works() -> None:
    write("begin", "x")
    raise ConnectionError


@task(rate="4/h")
def four_an_hour(name: str) -> None:
    write("begin", name)


def slots(jobs: list[Job[Any]]) -> list[float]:
    """The times that the rate has given to the last attempts; no start is early, many are late."""
    return sorted(each.run_at.timestamp() for job in jobs if (each := job.record))


def gaps(times: list[float], count: int) -> list[float]:
    """Return the seconds from each start to the `count`-th after it."""
    return [later - at for at, later in zip(times, times[count:], strict=False)]


async def test_no_window_has_more_starts_than_the_rate(store_url: str, ledger: Path) -> None:
    """There are not fewer either, if jobs wait. The slots are exact, and no start is early."""
    async with working(store_url, worker=False) as afterword:
        jobs = [await afterword.add_task(four_a_second, f"{n}") for n in range(10)]
        async with working(store_url, concurrency=10), working(store_url, concurrency=10):
            for job in jobs:
                await job.wait(60)

    due = slots(jobs)
    to_wall = -time.monotonic() + time.time()
    starts = [line.at + to_wall for line in lines(ledger, "begin")]
    assert 10 == len(due) == len(starts)
    assert all(gap > 0.999 for gap in gaps(due, 4)), due
    assert all(start > slot - 0.001 for slot, start in zip(due, starts, strict=True))
    assert due[-1] - due[0] < 4


async def test_a_rate_keeps_the_order(file_url: str, ledger: Path) -> None:
    async with working(file_url, concurrency=1) as afterword:
        jobs = [await afterword.add_task(four_a_second, f"{n}") for n in range(7)]
        for job in jobs:
            await job.wait(60)

    assert [f"{n}" for n in range(7)] == names(ledger, "begin")


async def test_a_key_has_a_rate_of_its_own(store_url: str, ledger: Path) -> None:
    async with working(store_url, worker=False) as afterword:
        jobs = [await afterword.add_task(two_each_in_three_seconds, c) for c in "aaabb"]
        async with working(store_url):
            for job in jobs:
                await job.wait(60)

    a, b = slots(jobs[:3]), slots(jobs[3:])
    assert "aaabb" == "".join(sorted(names(ledger, "begin")))
    assert a[2] - a[0] > 2.999
    assert max(b) < a[2]  # the rates of other keys do not matter


async def test_rate_and_limit_hold_together(store_url: str, ledger: Path) -> None:
    async with working(store_url) as afterword, working(store_url):
        jobs = [
            await afterword.add_task(three_in_two_seconds_one_at_a_time, f"{n}") for n in range(6)
        ]
        for job in jobs:
            await job.wait(60)

    events = [line.event for line in lines(ledger)]
    assert ["begin", "end"] * 6 == events
    assert all(gap > 1.999 for gap in gaps(slots(jobs), 3)), slots(jobs)


async def test_retries_are_starts_too(file_url: str, ledger: Path) -> None:
    began = time.monotonic()
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(two_in_two_seconds_and_never_works)).wait(60)

    times = [line.at for line in lines(ledger, "begin")]
    assert (JobState.FAILED, 4) == (job.state, job.attempt)
    assert times[2] >= began + 2


async def test_a_rate_keeps_nobody_else_waiting(store_url: str, ledger: Path) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        jobs = [background_tasks.add_task(four_an_hour, f"{n}") for n in range(9)]
        return [*jobs, background_tasks.add_task(note, "other")]

    async with serving(store_url, add, order="concurrent", concurrency=1) as site:
        await site.post()
        await site.jobs[-1].wait(60)
        await wait_for(lambda: len(names(ledger, "begin")) == 4, description="four have started")

    assert ["other"] == seen
    assert 4 == len(names(ledger, "begin"))
