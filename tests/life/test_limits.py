"""`limit=` and `key=`: never more jobs at a time across all workers."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from afterword import Job, JobState, task
from afterword.fastapi import BackgroundTasks
from tests.at_work import wait_for
from tests.life.process import kill, started
from tests.life.site import PATIENCE, gate, job_of, script, serving, store_of, working
from tests.life.tasks import (
    alone,
    alone_until_killed,
    begin_and_end,
    lines,
    most_at_once,
    names,
    one_of_a_customer,
    two_at_a_time,
    write,
)

pytestmark = pytest.mark.anyio


async def test_no_more_than_the_limit_run_at_any_moment(store_url: str, ledger: Path) -> None:
    """Two workers run here and one in another process, each with slots for all jobs."""
    with script(store_url) as afterword, ExitStack() as processes:
        afterword.inquiries.store()
        processes.enter_context(started("work", store_url))
        await wait_for(lambda: lines(ledger, "ready"), description="the other process works")
        async with working(store_url), working(store_url):
            jobs = [await afterword.add_task(two_at_a_time, f"{n}", 0.02) for n in range(40)]
            for job in jobs:
                await job.wait(30)
            ended = [job.state for job in jobs]

    assert [JobState.COMPLETED] * 40 == ended
    assert 40 == len(names(ledger, "end"))
    assert 2 == most_at_once(ledger)


async def test_jobs_that_this_process_adds_are_counted_too(store_url: str, ledger: Path) -> None:
    """Without a limit, the jobs of a request would start here at once."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.add_task(two_at_a_time, f"{n}", 0.03) for n in range(4)]

    async with serving(store_url, add, order="concurrent") as site:
        jobs = []
        for _ in range(5):
            await site.post()
            jobs += site.jobs
            jobs.append(await site.afterword.add_task(two_at_a_time, "x", 0.03))
        for job in jobs:
            await job.wait(60)

    assert 25 == len(names(ledger, "end"))
    assert 2 == most_at_once(ledger)


async def test_a_key_tells_apart_what_is_counted(store_url: str, ledger: Path) -> None:
    """Each customer has one slot; none waits for another one's jobs."""
    async with working(store_url) as one, working(store_url):
        jobs = [
            await one.add_task(one_of_a_customer, customer, f"{n}", 0.05)
            for n in range(5)
            for customer in "abc"
        ]
        for job in jobs:
            await job.wait(60)

    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for line in lines(ledger):
        running[line.name[0]] += 1 if line.event == "begin" else -1
        most |= running
    assert {"a": 1, "b": 1, "c": 1} == dict(most)
    assert most_at_once(ledger) > 1


async def test_the_jobs_of_a_request_keep_their_order(store_url: str, ledger: Path) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [
            background_tasks.add_task(two_at_a_time, "1"),
            background_tasks.add_task(begin_and_end, "2"),
            background_tasks.add_task(alone, "3"),
            background_tasks.add_task(two_at_a_time, "4"),
            background_tasks.add_task(alone, "5"),
        ]

    async with serving(store_url, add) as site, working(store_url):
        await site.post()
        await site.jobs[-1].wait(60)

    assert ["1", "2", "3", "4", "5"] == names(ledger, "begin")
    assert 1 == most_at_once(ledger)


@task(limit=1)
def alone_until_gate(name: str) -> None:
    write("begin", name)
    gate.wait(PATIENCE)
    write("end", name)


async def test_a_limit_keeps_nobody_else_waiting(store_url: str, ledger: Path) -> None:
    """There is one slot, and a limited job that has to wait: the next ones run."""
    async with working(store_url, concurrency=1), working(store_url, concurrency=1) as afterword:
        first = await afterword.add_task(alone_until_gate, "first")
        await wait_for(lambda: names(ledger, "begin"), description="it runs")
        second = await afterword.add_task(alone_until_gate, "second")
        others = [await afterword.add_task(begin_and_end, f"{n}") for n in range(5)]
        for job in others:
            await job.wait(60)
        gate.set()
        for job in (first, second):
            await job.wait(60)

    ended = names(ledger, "end")
    assert ["0", "1", "2", "3", "4"] == sorted(ended[:5])
    assert ["first", "second"] == ended[5:]


async def test_a_worker_that_is_killed_gives_its_place_back(store_url: str, ledger: Path) -> None:
    """The job that it was running runs again, within the limit."""
    with script(store_url) as afterword:
        job = await afterword.add_task(alone_until_killed, "killed", hangs=True)
        others = [await afterword.add_task(alone_until_killed, f"{n}") for n in range(3)]
        with started("work", store_url) as process:
            await wait_for(lambda: names(ledger, "begin"), description="it runs")
            kill(process, store_of(afterword))
        async with working(store_url):
            for each in (job, *others):
                await each.wait(60)
        found = await job_of(afterword, job)

    assert (JobState.COMPLETED, 2) == (found.state, found.attempt)
    begun = lines(ledger, "begin")
    assert ["killed"] == [line.name for line in begun if line.pid == process.pid]
    here = [line for line in lines(ledger) if line.pid != process.pid and line.event != "ready"]
    assert ["begin", "end"] * 4 == [line.event for line in here]
