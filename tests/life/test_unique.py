"""Unique jobs: one with a key at a time, as the store decides, for all processes that add."""

import asyncio
import json
import subprocess
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from afterword import Job, JobState, task
from afterword.fastapi import BackgroundTasks
from tests.at_work import wait_for
from tests.life.process import started
from tests.life.site import (
    gate,
    job_of,
    note,
    note_async,
    script,
    seen,
    serving,
    store_of,
    wait_at_gate,
    working,
)

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- in requests


async def test_a_request_finds_the_job_that_another_one_has_added(store_url: str) -> None:
    """With other arguments it is the same job, and `conflict` says that they differ."""
    texts = ["first", "first", "other"]

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        unique = background_tasks.options(unique="key", delay=60)
        return [unique.add_task(note, texts.pop(0))]

    async with serving(store_url, add) as site:
        answers = []
        for _ in range(3):
            ids = await site.post()
            answers.append((ids[0], site.jobs[0].conflict))
        jobs = store_of(site.afterword).find()

    (job,) = jobs
    assert [(job.id, False), (job.id, False), (job.id, True)] == answers
    assert '{"text":"first"}' == job.arguments


async def test_what_is_added_after_a_cancellation_runs(store_url: str) -> None:
    """The key is free when the running job has been asked to end; the next one begins after it."""
    texts = ["old", "new", "third"]

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.options(unique="key").add_task(wait_at_gate, texts.pop(0))]

    async with serving(store_url, add) as site:
        ids = await site.post()
        old = site.jobs[0]
        await wait_for(lambda: seen == ["old"], description="it runs")
        with script(store_url) as people:
            (cancelled,) = store_of(people).cancel(ids, "not wanted any more")
            (new,) = await site.post()
            (third,) = await site.post()
            handle = await people.options(unique="key").add_task(wait_at_gate, "fourth")
        between = list(seen)
        gate.set()
        states = [(await (await job_of(site.afterword, old)).wait(60)).state]
        found = await site.afterword.job(new)
        assert found
        states.append((await found.wait(60)).state)

    assert cancelled
    assert ids[0] != new == third == handle.id
    assert handle.conflict
    assert handle.record
    assert ["old"] == between
    assert ["old", "old ends", "new", "new ends"] == seen
    assert JobState.COMPLETED is states[1]


async def test_a_handle_tells_the_state_of_the_job_that_is_there(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.options(unique="key").add_task(wait_at_gate, "x")
        await wait_for(lambda: seen == ["x"], description="it runs")
        again = await afterword.options(unique="key").add_task(wait_at_gate, "x")

    assert (job.id, JobState.RUNNING, False) == (again.id, again.state, again.conflict)


async def test_the_id_is_known_before_the_answer(store_url: str) -> None:
    """The answer can contain it; a key of the same request is found when it is stored."""
    early: list[list[str]] = []

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        unique = background_tasks.options(unique="key", delay=60)
        jobs = [unique.add_task(note, "x"), unique.add_task(note, "x"), unique.add_task(note, "y")]
        early.append([job.id for job in jobs])
        return jobs

    async with serving(store_url, add) as site:
        first = await site.post()
        conflicts = [job.conflict for job in site.jobs]
        second = await site.post()

    assert 1 == len({*first, *second})
    assert [False, False, True] == conflicts
    assert second == early[1]


async def test_what_follows_a_found_job_waits_for_it(store_url: str) -> None:
    """The order is kept although the first job belongs to another request."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [
            background_tasks.options(unique="key").add_task(wait_at_gate, "found"),
            background_tasks.add_task(note, f"follows {len(seen)}"),
        ]

    async with serving(store_url, add) as site:
        first = await site.post()
        await wait_for(lambda: seen, description="it runs")
        second = await site.post()
        follower = site.jobs[1]
        await asyncio.sleep(0.05)
        between = (await follower.refresh()).state
        gate.set()
        await follower.wait(60)
        await wait_for(lambda: len(seen) == 4, description="all have run")

    assert first[0] == second[0]
    assert JobState.QUEUED is between
    assert ["found", "found ends"] == seen[:2]
    assert {"follows 0", "follows 1"} == {*seen[2:]}


async def test_after_its_end_there_is_a_new_one(store_url: str) -> None:
    async with working(store_url) as afterword:
        unique = afterword.options(unique="key")
        first = await (await unique.add_task(note, "1")).wait(60)
        second = await (await unique.add_task(note, "2")).wait(60)

    assert first.id != second.id
    assert not second.conflict
    assert ["1", "2"] == seen


@task(retries=1, backoff=60)
def fail_once(text: str) -> None:
    seen.append(text)
    raise ConnectionError(text)


async def test_a_job_that_waits_for_its_next_attempt_has_not_ended(store_url: str) -> None:
    async with working(store_url) as afterword:
        unique = afterword.options(unique="key")
        first = await unique.add_task(fail_once, "x")
        await wait_for(lambda: seen, description="it has failed")
        again = await unique.add_task(fail_once, "x")
        await again.cancel()
        new = await afterword.options(unique="key", delay=60).add_task(fail_once, "x")

    assert first.id == again.id
    assert first.id != new.id


# ---------------------------------------------------------------------- all at once


async def test_requests_at_the_same_time_add_one_job(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.options(unique="key").add_task(wait_at_gate, "x")]

    async with serving(store_url, add) as site:
        await asyncio.gather(*(site.client.post("/") for _ in range(20)))
        ids = {job.id for job in site.jobs}
        jobs = store_of(site.afterword).find()
        gate.set()
        await wait_for(lambda: len(seen) == 2, description="it has run")

    assert [*ids] == [job.id for job in jobs]
    assert ["x", "x ends"] == seen


def test_threads_of_two_users_add_one_job_of_each_key(store_url: str) -> None:
    with script(store_url) as one, script(store_url) as other, ThreadPoolExecutor(8) as pool:

        def add(number: int) -> tuple[str, str]:
            key = f"key:{number // 8}"
            afterword = (one, other)[number % 2]
            return key, afterword.options(unique=key).add_task_sync(note_async, "x").id

        answers = set(pool.map(add, range(10 * 8)))

    assert {1} == {*Counter(key for key, _ in answers).values()}


def test_processes_add_one_job_of_each_key(store_url: str, ledger: Path) -> None:
    with script(store_url) as afterword:
        store_of(afterword)  # creates it
        adder: dict[str, Any] = {"stdout": subprocess.PIPE, "keys": 20, "times": 3}
        with started("add", store_url, **adder) as one, started("add", store_url, **adder) as two:
            answers = [json.loads(each.communicate(timeout=60)[0]) for each in (one, two)]
        jobs = store_of(afterword).find()

    ids = {key: {*answers[0][key], *answers[1][key]} for key in answers[0]}
    assert 20 == len(ids) == len(jobs)
    assert {1} == {len(each) for each in ids.values()}


# ---------------------------------------------------------------------- what a key can be

LONG = "x" * 10_000
COMPOSED = unicodedata.normalize("NFC", "caf\u00e9")
KEYS = [
    LONG,
    f"{LONG}y",
    COMPOSED,
    unicodedata.normalize("NFD", COMPOSED),
    "a",
    "a ",
    "A",
    "a\nb",
    "a\0b",
    "\ud800",
    "'; DROP TABLE afterword_jobs; --",
    "\N{GRINNING FACE}",
]


async def test_keys_are_compared_as_they_are_written(store_url: str) -> None:
    """Keys of any length; texts that only look the same are different keys."""
    async with working(store_url, worker=False) as afterword:
        first = [await afterword.options(unique=key, delay=60).add_task(note, "x") for key in KEYS]
        again = [await afterword.options(unique=key, delay=60).add_task(note, "x") for key in KEYS]
        stored = [(await job_of(afterword, job)).record for job in first]

    assert len(KEYS) == len({job.id for job in first})
    assert [job.id for job in first] == [job.id for job in again]
    assert all(record and len(record.unique_key or "") <= 128 for record in stored)


async def test_of_two_tasks_with_one_key_the_first_counts(store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        unique = afterword.options(unique="key", delay=60)
        first = await unique.add_task(note, "x")
        second = await unique.add_task(note_async, "x")

    assert (first.id, False, True) == (second.id, first.conflict, second.conflict)
