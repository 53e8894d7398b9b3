"""Cancelled calls: the caller ends, and its jobs run, at any moment of the store's answer.

A cancelled coroutine ends at once, and no job stays held without an owner.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI

from afterword import Afterword, JobState
from afterword.client.call import Call
from afterword.client.operation import adding, calling
from afterword.fastapi import BackgroundTasks
from afterword.model.job import NewJob, new_id
from afterword.request.outbox import Outbox
from afterword.tasks.registry import reference
from tests.life.site import note, seen
from tests.request.gates import (
    LOOP_NAMES,
    LOOPS,
    before_the_store_answers,
    before_the_store_begins,
    is_queued,
    records,
    request,
    started,
    wait_for_the_answer,
)

pytestmark = pytest.mark.anyio

Adding = Callable[[], Coroutine[Any, Any, Any]]
Moment = Callable[[Afterword, Adding], Awaitable["asyncio.Task[Any]"]]


@pytest.fixture(params=LOOPS, ids=LOOP_NAMES)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop, which decides the moment of a callback."""
    return request.param


async def before_it_begins(afterword: Afterword, add: Adding) -> "asyncio.Task[Any]":
    """Cancel while the operation waits in the queue."""
    with before_the_store_begins(afterword):
        caller = asyncio.create_task(add())
        await is_queued(afterword)
        caller.cancel()
        await asyncio.wait([caller], timeout=60)
        return caller


async def while_it_commits(afterword: Afterword, add: Adding) -> "asyncio.Task[Any]":
    """Cancel when it is committed, before the thread answers."""
    with before_the_store_begins(afterword) as first:
        caller = asyncio.create_task(add())
        await is_queued(afterword)
        with before_the_store_answers(afterword) as gate:
            first.open()
            await gate.is_reached()
            for _ in range(3):
                caller.cancel()
                await asyncio.sleep(0)
    await asyncio.wait([caller], timeout=60)
    return caller


async def as_it_answers(afterword: Afterword, add: Adding) -> "asyncio.Task[Any]":
    """Cancel while the answer waits for the event loop, which is busy."""
    with before_the_store_begins(afterword) as gate:
        caller = asyncio.create_task(add())
        await is_queued(afterword)
        gate.open()
        wait_for_the_answer(afterword)
        caller.cancel()
    await asyncio.wait([caller], timeout=60)
    return caller


async def after_it_has_answered(afterword: Afterword, add: Adding) -> "asyncio.Task[Any]":
    """Cancel when the future has its result, before its coroutine continues."""
    with before_the_store_begins(afterword) as gate:
        caller = asyncio.create_task(add())
        await is_queued(afterword)
        gate.open()
        wait_for_the_answer(afterword)
        asyncio.get_running_loop().call_soon(caller.cancel)
    await asyncio.wait([caller], timeout=60)
    return caller


MOMENTS = [before_it_begins, while_it_commits, as_it_answers, after_it_has_answered]
moments = pytest.mark.parametrize("moment", MOMENTS, ids=lambda each: each.__name__)


def stored(moment: Moment) -> int:
    """Return the number of jobs afterwards: none if the operation could be taken back."""
    return 0 if moment is before_it_begins else 1


@moments
async def test_add_task_ends_and_its_job_runs_if_it_was_stored(
    moment: Moment, store_url: str
) -> None:
    async with started(Afterword(FastAPI(), store_url)) as afterword:
        caller = await moment(afterword, lambda: afterword.add_task(note, "x"))
        jobs = await records(afterword)

    assert caller.cancelled()
    assert [JobState.COMPLETED] * stored(moment) == [job.state for job in jobs]
    assert ["x"] * stored(moment) == seen


@moments
async def test_a_request_ends_and_its_job_runs_if_it_was_stored(
    moment: Moment, store_url: str
) -> None:
    app = FastAPI()
    afterword = Afterword(app, store_url)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "x")

    async with started(afterword):
        caller = await moment(afterword, lambda: request(app))
        jobs = await records(afterword)

    assert caller.cancelled()
    assert [JobState.COMPLETED] * stored(moment) == [job.state for job in jobs]
    assert ["x"] * stored(moment) == seen


@moments
async def test_a_request_with_a_chain_leaves_nothing_behind(moment: Moment, file_url: str) -> None:
    """All jobs are stored or none, also those behind the held one."""
    app = FastAPI()
    afterword = Afterword(app, file_url)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        for text in "abc":
            background_tasks.options(unique=text if text == "b" else None).add_task(note, text)

    async with started(afterword):
        await moment(afterword, lambda: request(app))
        jobs = await records(afterword)

    assert [JobState.COMPLETED] * 3 * stored(moment) == [job.state for job in jobs]
    assert [*"abc"] * stored(moment) == seen


@moments
async def test_whoever_asks_the_store_ends(moment: Moment, file_url: str) -> None:
    """This holds for each use of `GroupCommit.run`."""
    job = NewJob(id=new_id(), task=reference(note), arguments='{"text":"x"}')
    async with started(Afterword(FastAPI(), file_url)) as afterword:
        caller = await moment(afterword, lambda: afterword.runtime.group.run(adding([job], None)))
        wait_for_the_answer(afterword)
        jobs = await records(afterword)

    assert caller.cancelled()
    assert [job.id] * stored(moment) == [each.id for each in jobs]


@moments
async def test_a_store_that_refuses_as_the_caller_is_cancelled_leaves_nothing(
    moment: Moment, file_url: str
) -> None:
    """The answer is an error."""

    def refuse(store: Any) -> None:
        raise LookupError("no")

    async with started(Afterword(FastAPI(), file_url)) as afterword:
        caller = await moment(afterword, lambda: afterword.runtime.group.run(calling(refuse)))

    assert caller.cancelled()


async def test_two_wait_for_one_answer_and_one_of_them_is_cancelled(store_url: str) -> None:
    """A WebSocket's second sender waits for jobs that the first one stores."""
    app = FastAPI()
    afterword = Afterword(app, store_url)
    async with started(afterword):
        outbox = Outbox(afterword.intake)
        entry = outbox.add(Call(note, ("x",), {}))
        with before_the_store_begins(afterword):
            first = asyncio.create_task(outbox.store())
            second = asyncio.create_task(outbox.store())
            await is_queued(afterword)
            await asyncio.sleep(0)
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
        await asyncio.wait_for(second, 10)
        outbox.end()
        (job,) = await records(afterword)

    assert (entry.job.id, JobState.COMPLETED) == (job.id, job.state)
    assert ["x"] == seen


@pytest.mark.parametrize("timeout", [0.001, 0.003])
async def test_adds_with_a_short_timeout_all_end(timeout: float, file_url: str) -> None:
    """The timeout may come at any moment of the answer."""
    async with started(Afterword(FastAPI(), file_url)) as afterword:

        async def add(number: int) -> str | None:
            try:
                async with asyncio.timeout(timeout * (1 + number % 7)):
                    return (await afterword.add_task(note, f"{number}")).id
            except TimeoutError:
                return None

        ids = [await asyncio.wait_for(add(number), 10) for number in range(60)]
        jobs = await records(afterword)

    assert {each for each in ids if each} <= {job.id for job in jobs}
    assert {JobState.COMPLETED} >= {job.state for job in jobs}
    assert len(jobs) == len(seen) == len({*seen})
