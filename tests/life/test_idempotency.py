"""`Afterword(idempotent=True)`: a client that repeats its request gets the same jobs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from afterword import Job
from afterword.fastapi import BackgroundTasks
from tests.life.site import note, note_async, seen, serving, store_of

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def two_jobs(background_tasks: BackgroundTasks) -> list[Job[Any]]:
    """Add two jobs in a request."""
    return [background_tasks.add_task(note, "one"), background_tasks.add_task(note_async, "two")]


async def test_a_repeated_request_gets_the_same_jobs_also_when_they_have_ended(
    store_url: str,
) -> None:
    async with serving(store_url, two_jobs, idempotent=True) as site:
        first = await site.post(headers=KEY)
        at_once = await site.post(headers=KEY)
        for job in site.jobs:
            await job.wait(60)
        after_the_end = await site.post(headers=KEY)
        jobs = store_of(site.afterword).find()

    assert first == at_once == after_the_end
    assert 2 == len(jobs)
    assert ["one", "two"] == seen


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("/other", KEY, id="other-path"),
        pytest.param("/", {"Idempotency-Key": "another"}, id="other-key"),
        pytest.param("/", {"Idempotency-Key": KEY["Idempotency-Key"].upper()}, id="other-case"),
        pytest.param("/", {}, id="no-key"),
    ],
)
async def test_another_request_gets_jobs_of_its_own(
    path: str, headers: dict[str, str], file_url: str
) -> None:
    async with serving(file_url, two_jobs, idempotent=True) as site:
        first = await site.post(headers=KEY)
        other = await site.post(path, headers=headers)

    assert 4 == len({*first, *other})


async def test_jobs_of_a_transaction_are_the_same_ones_too(tmp_path: Path) -> None:
    file = tmp_path / "app.db"

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        with closing(sqlite3.connect(file)) as connection:
            job = background_tasks.bind(connection).add_task(note, "one")
            connection.commit()
        return [job]

    async with serving(f"sqlite+pysqlite:///{file}", add, idempotent=True) as site:
        first = await site.post(headers=KEY)
        await site.jobs[0].wait(60)
        second = await site.post(headers=KEY)
        other = await site.post("/other", headers=KEY)

    assert first == second
    assert first != other


async def test_an_empty_key_is_none(file_url: str) -> None:
    """Otherwise all clients that send an empty key by mistake would share their jobs."""
    async with serving(file_url, two_jobs, idempotent=True) as site:
        first = await site.post(headers={"Idempotency-Key": ""})
        second = await site.post(headers={"Idempotency-Key": " "})
        third = await site.post(headers={"Idempotency-Key": ""})

    assert 6 == len({*first, *second, *third})


async def test_the_header_means_nothing_unless_the_application_says_so(file_url: str) -> None:
    async with serving(file_url, two_jobs) as site:
        first = await site.post(headers=KEY)
        second = await site.post(headers=KEY)

    assert 4 == len({*first, *second})


async def test_requests_that_are_repeated_at_the_same_time_get_the_same_jobs(
    store_url: str,
) -> None:
    async with serving(store_url, two_jobs, idempotent=True) as site:
        await asyncio.gather(*(site.client.post("/", headers=KEY) for _ in range(10)))
        for job in site.jobs:
            await job.wait(60)
        ids = {job.id for job in site.jobs}
        jobs = store_of(site.afterword).find()

    assert ids == {job.id for job in jobs}
    assert 2 == len(jobs)
    assert ["one", "two"] == seen


async def test_the_same_key_with_other_arguments_is_a_conflict(store_url: str) -> None:
    texts = ["first", "other"]

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.add_task(note, texts.pop(0))]

    async with serving(store_url, add, idempotent=True) as site:
        first = await site.post(headers=KEY)
        fresh = site.jobs[0].conflict
        second = await site.post(headers=KEY)
        (job,) = site.jobs
        await job.wait(60)

    assert first == second
    assert (False, True) == (fresh, job.conflict)
    assert ["first"] == seen


@pytest.mark.parametrize("key", ["x" * 10_000, "caf\u00e9", "a:0", "'; DROP", "%00"])
async def test_a_key_may_be_any_text(key: str, store_url: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    async with serving(store_url, two_jobs, idempotent=True) as site:
        first = await site.post(headers=headers)
        second = await site.post(headers=headers)
        jobs = store_of(site.afterword).find()

    assert first == second
    assert 2 == len({*first})
    assert all(len(job.unique_key or "") <= 128 for job in jobs)


async def test_a_key_that_the_code_gives_goes_before(file_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        unique = background_tasks.options(unique="of the code", delay=60)
        return [unique.add_task(note, "x"), background_tasks.options(delay=60).add_task(note, "y")]

    async with serving(file_url, add, idempotent=True) as site:
        first = await site.post(headers=KEY)
        second = await site.post(headers={"Idempotency-Key": "another"})

    assert first[0] == second[0]
    assert first[1] != second[1]


async def test_a_client_cannot_guess_the_keys_of_the_code(file_url: str) -> None:
    """Any key that a client sends meets only jobs of such requests."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.options(delay=60).add_task(note, "x")]

    async with serving(file_url, add, idempotent=True) as site:
        job = await site.afterword.options(unique="key:0", delay=60).add_task(note, "x")
        ids = await site.post(headers={"Idempotency-Key": "key"})

    assert [job.id] != ids
