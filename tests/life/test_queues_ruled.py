"""Rules of queues: pauses, and limits across all processes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from afterword import Job, JobState
from afterword.fastapi import BackgroundTasks
from tests.at_work import asked, wait_for
from tests.life.site import note, script, seen, serving, store_of, working
from tests.life.tasks import begin_and_end, clear, most_at_once, names, send

pytestmark = pytest.mark.anyio


def mails(background_tasks: BackgroundTasks) -> list[Job[Any]]:
    """Add two mails, and another job."""
    return [
        background_tasks.add_task(send, "a", 0.03),
        background_tasks.add_task(send, "b", 0.03),
        background_tasks.options(queue="default").add_task(note, "other"),
    ]


async def test_no_more_jobs_of_a_queue_run_than_it_may(store_url: str, ledger: Path) -> None:
    """It holds from the start: requests add some while the worker is just starting."""
    options: dict[str, Any] = {"queues": {"mail": 2, "default": None}, "order": "concurrent"}
    async with serving(store_url, mails, **options) as site, working(store_url, **options):
        jobs = []
        for _ in range(8):
            await site.post()
            jobs += site.jobs
        for _ in range(8):
            jobs.append(await site.afterword.add_task(send, "x", 0.03))
        for job in jobs:
            await job.wait(60)

    assert 24 == len(names(ledger, "end"))
    assert 8 == len(seen)
    assert 2 == most_at_once(ledger)


async def test_a_limit_can_be_taken_back(store_url: str, ledger: Path) -> None:
    """{"mail": None} removes the limit; a list of names leaves it as it is."""
    most = []
    for queues in ({"mail": 1}, ["mail"], {"mail": None}):
        clear(ledger)
        async with working(store_url, queues=queues) as afterword:
            jobs = [await afterword.add_task(send, f"{n}", 0.1) for n in range(4)]
            for job in jobs:
                await job.wait(60)
        most.append(most_at_once(ledger))

    assert [1, 1] == most[:2]
    assert most[2] > 1


async def test_a_paused_queue_starts_nothing_until_it_goes_on(store_url: str, ledger: Path) -> None:
    """Neither waiting jobs nor those of new requests start; running ones go on."""
    options: dict[str, Any] = {"queues": ["mail", "default"], "order": "concurrent"}
    async with serving(store_url, mails, **options) as site, working(store_url, **options):
        running = await site.afterword.add_task(send, "running", 0.8)
        await wait_for(lambda: names(ledger, "begin"), description="it runs")
        with script(store_url) as people:
            store_of(people).pause(["mail"])
            await site.post()
            waiting = [*site.jobs[:2], await site.afterword.add_task(send, "c")]
            await site.jobs[2].wait(60)
            await running.wait(60)
            await asyncio.sleep(0.1)
            between = [(await job.refresh()).state for job in waiting]
            (queue,) = [each for each in store_of(people).queues() if each.name == "mail"]
            store_of(people).resume(["mail"])
        for job in waiting:
            await job.wait(60)

    assert ["other"] == seen
    assert [JobState.QUEUED] * 3 == between
    assert (True, 3, 0) == (queue.paused, queue.due, queue.running)
    assert ["running", *"abc"] == [names(ledger, "begin")[0], *sorted(names(ledger, "begin")[1:])]


async def test_a_pause_holds_when_it_has_returned(store_url: str, ledger: Path) -> None:
    """Another process pauses; requests of this one would start their jobs at once."""
    async with serving(store_url, mails, queues=["mail", "default"]) as site:
        with script(store_url) as people:
            store = store_of(people)
            for _ in range(4):
                await asyncio.to_thread(store.pause, ["mail"])
                await site.post()
                await site.jobs[0].refresh()
                assert [] == names(ledger, "begin")
                await asyncio.to_thread(store.cancel, [job.id for job in site.jobs], "no")
                await asyncio.to_thread(store.resume, ["mail"])

    assert [] == names(ledger, "begin")


async def test_a_limit_holds_when_it_has_been_set(store_url: str, ledger: Path) -> None:
    """From then on requests of other processes keep to the limit."""
    options: dict[str, Any] = {"queues": ["mail", "default"], "order": "concurrent"}
    async with serving(store_url, mails, **options) as site:
        with script(store_url) as people:
            held = await asyncio.to_thread(store_of(people).limit, {"mail": 1})
            jobs = []
            for _ in range(4):
                await site.post()
                jobs += site.jobs
            for job in jobs:
                await job.wait(60)

    assert held
    assert 8 == len(names(ledger, "end"))
    assert 1 == most_at_once(ledger)


async def test_a_pause_outlives_the_workers(store_url: str, ledger: Path) -> None:
    async with working(store_url) as afterword:
        store_of(afterword).pause(["default"])
    async with working(store_url) as afterword:
        job = await afterword.add_task(begin_and_end, "x")
        await asyncio.sleep(0.2)
        between = (await job.refresh()).state
        store_of(afterword).resume(["default"])
        await job.wait(60)

    assert JobState.QUEUED is between
    assert ["x"] == names(ledger, "end")


async def test_a_paused_job_can_be_cancelled(store_url: str) -> None:
    async with working(store_url) as afterword:
        store_of(afterword).pause(["default"])
        job = await afterword.add_task(note, "never")
        await wait_for(lambda: asked(job).state is JobState.QUEUED, description="it is not started")
        answer = await job.cancel()
        store_of(afterword).resume(["default"])
        await (await afterword.add_task(note, "other")).wait(60)

    assert answer
    assert ["other"] == seen
