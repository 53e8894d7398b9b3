"""Idempotency keys: their owners and their limits."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from afterword import Job
from afterword.fastapi import BackgroundTasks
from tests.life.site import note, serving, store_of
from tests.proxy import through

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k"}


def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
    """Add the jobs of each request."""
    return [background_tasks.options(delay=60).add_task(note, "x")]


def user(request: HTTPConnection) -> str | None:
    """Return the user of a request."""
    return request.headers.get("user")


async def test_a_users_key_meets_the_jobs_of_that_user_only(file_url: str) -> None:
    async with serving(file_url, add, idempotent=user) as site:
        anns = [await site.post(headers={**KEY, "user": "ann"}) for _ in range(2)]
        bobs = await site.post(headers={**KEY, "user": "bob"})
        nobodys = [await site.post(headers=KEY) for _ in range(2)]

    assert anns[0] == anns[1]
    assert 4 == len({*anns[0], *bobs, *nobodys[0], *nobodys[1]})


async def test_parts_of_a_request_cannot_be_mistaken_for_each_other(file_url: str) -> None:
    """The path and the key contain spaces."""
    async with serving(file_url, add, idempotent=True) as site:
        first = await site.post("/a%20b", headers={"Idempotency-Key": "c"})
        second = await site.post("/a", headers={"Idempotency-Key": "b c"})

    assert first != second


async def test_the_code_cannot_meet_a_stored_key_by_chance(file_url: str) -> None:
    async with serving(file_url, add, idempotent=True) as site:
        (job_id,) = await site.post(headers=KEY)
        (stored,) = store_of(site.afterword).get([job_id])
        other = site.afterword.options(unique=stored.unique_key, delay=60)
        job = await other.add_task(note, "x")

    assert job_id != job.id


async def test_a_silent_server_does_not_keep_the_loop(postgres_url: str) -> None:
    """Searches for unique jobs are given up at once, and only a few are begun."""
    with through(postgres_url) as (proxy, url):

        def add_many(background_tasks: BackgroundTasks) -> list[Job[Any]]:
            unique = [background_tasks.options(unique=f"{n}") for n in range(200)]
            return [each.add_task(note, "x") for each in unique]

        async with serving(url, add_many, store_timeout=0.3) as site:
            proxy.swallow()
            answer = await site.client.post("/")
            proxy.accept()

    assert 503 == answer.status_code
    assert answer.elapsed.total_seconds() < 30
