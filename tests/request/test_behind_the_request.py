"""Calls after the end of the request: stored at once, or refused with an error."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI

from afterword import Afterword, JobState, NotStorable
from afterword.errors import StoreUnavailable
from afterword.fastapi import BackgroundTasks
from tests.life.site import note, seen
from tests.request.gates import before_the_store_begins, impatient, records, request, started

pytestmark = pytest.mark.anyio

KEY = [(b"idempotency-key", b"k")]


class Kept:
    """An application whose handler keeps its BackgroundTasks for later."""

    def __init__(self, url: str, **options: Any) -> None:
        self.app = FastAPI()
        self.afterword = Afterword(self.app, url, **options)
        self.background_tasks: BackgroundTasks

        @self.app.post("/")
        async def route(background_tasks: BackgroundTasks) -> None:
            self.background_tasks = background_tasks
            background_tasks.add_task(note, "A")


async def in_the_loop(add: Callable[[], Any]) -> Any:
    """Run as a coroutine that the handler has started."""
    return add()


async def in_a_thread(add: Callable[[], Any]) -> Any:
    """Run in a thread that the handler has started."""
    return await asyncio.to_thread(add)


ways = pytest.mark.parametrize("way", [in_the_loop, in_a_thread])


@ways
async def test_who_is_told_that_nothing_was_stored_may_try_again(way: Any, store_url: str) -> None:
    """After the second try the job exists once."""
    kept = Kept(store_url)
    async with started(kept.afterword):
        await request(kept.app)
        with impatient(kept.afterword), before_the_store_begins(kept.afterword):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="nothing was stored"):
                    await way(lambda: kept.background_tasks.add_task(note, "B"))
        await way(lambda: kept.background_tasks.add_task(note, "B"))
        jobs = await records(kept.afterword)

    assert ["A", "B"] == seen
    assert [JobState.COMPLETED] * 2 == [job.state for job in jobs]


async def test_add_task_that_raised_has_stored_nothing(store_url: str) -> None:
    async with started(Afterword(FastAPI(), store_url)) as afterword:
        with impatient(afterword), before_the_store_begins(afterword):
            with pytest.raises(StoreUnavailable, match="nothing was stored"):
                await afterword.add_task(note, "x")
            with pytest.raises(StoreUnavailable, match="nothing was stored"):
                await asyncio.to_thread(afterword.add_task_sync, note, "x")
        await afterword.add_task(note, "x")
        jobs = await records(afterword)

    assert 1 == len(jobs)
    assert ["x"] == seen


async def test_what_was_not_stored_is_followed_by_nothing(file_url: str) -> None:
    """The request's next job follows the one before it."""
    kept = Kept(file_url)
    async with started(kept.afterword):
        await request(kept.app)
        await asyncio.to_thread(kept.background_tasks.add_task, note, "B")
        with (
            impatient(kept.afterword),
            before_the_store_begins(kept.afterword),
            pytest.raises(StoreUnavailable),
        ):
            await asyncio.to_thread(kept.background_tasks.add_task, note, "lost")
        await asyncio.to_thread(kept.background_tasks.add_task, note, "C")
        jobs = await records(kept.afterword)

    assert [JobState.COMPLETED] * 3 == [job.state for job in jobs]
    assert ["A", "B", "C"] == seen


async def test_a_call_that_cannot_be_stored_is_refused(file_url: str) -> None:
    """The request is over, so it cannot run there."""
    kept = Kept(file_url)
    async with started(kept.afterword):
        await request(kept.app)
        with pytest.raises(NotStorable):
            kept.background_tasks.add_task(lambda: None)
        jobs = await records(kept.afterword)

    assert 1 == len(jobs)


@ways
async def test_with_an_idempotency_key_each_call_is_one_of_its_own(
    way: Any, store_url: str
) -> None:
    kept = Kept(store_url, idempotent=True)
    async with started(kept.afterword):
        await request(kept.app, headers=KEY)
        added = [
            await way(lambda text=text: kept.background_tasks.add_task(note, text)) for text in "BC"
        ]
        jobs = await records(kept.afterword)

    assert [False, False] == [job.conflict for job in added]
    assert ["A", "B", "C"] == seen
    assert 3 == len(jobs)


@ways
async def test_repeated_with_an_idempotency_key_they_are_the_same_ones(
    way: Any, store_url: str
) -> None:
    """The number of a call comes from the request's calls, whenever the request ends."""
    kept = Kept(store_url, idempotent=True)
    ids: list[list[str]] = []
    async with started(kept.afterword):
        for _ in range(2):
            await request(kept.app, headers=KEY)
            added = [
                await way(lambda text=text: kept.background_tasks.add_task(note, text))
                for text in "BC"
            ]
            ids.append([job.id for job in added])
        jobs = await records(kept.afterword)

    assert ids[0] == ids[1]
    assert 3 == len(jobs)
    assert ["A", "B", "C"] == seen


async def test_a_call_that_could_not_be_stored_counts_for_a_repetition_as_well(
    file_url: str,
) -> None:
    """After a 503 the client repeats its request: first nothing was stored, then everything."""
    app = FastAPI()
    afterword = Afterword(app, file_url, idempotent=True)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        for text in "ABC":
            background_tasks.add_task(note, text)

    async with started(afterword):
        with (
            impatient(afterword),
            before_the_store_begins(afterword),
            suppress(StoreUnavailable),
        ):
            refused = await request(app, headers=KEY)
        for _ in range(2):
            await request(app, headers=KEY)
        jobs = await records(afterword)

    assert 503 == refused[0]["status"]
    assert 3 == len(jobs)
    assert ["A", "B", "C"] == seen


async def test_what_is_added_behind_the_request_follows_its_jobs(store_url: str) -> None:
    kept = Kept(store_url, worker=False)
    async with started(kept.afterword):
        await request(kept.app)
        for text in "BC":
            kept.background_tasks.add_task(note, text)
        jobs = sorted(kept.afterword.inquiries.store().find(), key=lambda job: job.id)

    assert [None, jobs[0].id, jobs[1].id] == [job.after for job in jobs]
    assert 1 == len({job.request_id for job in jobs})
