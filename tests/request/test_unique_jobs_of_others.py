"""Unique jobs of two requests: both have promised the job, and both keep their order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from afterword import Afterword, Job, JobState
from afterword.fastapi import BackgroundTasks
from afterword.starlette import BackgroundTasks as ByHand
from tests.at_work import wait_for
from tests.life.site import fail, gate, note, seen, serving, wait_at_gate
from tests.request.gates import records, request, started, status_of

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- unconfirmed, or failed


async def test_a_job_that_another_request_was_given_runs_though_its_own_failed(
    store_url: str,
) -> None:
    """The first stream breaks off, so Starlette never runs the tasks of its response."""
    app, go_on, begun = FastAPI(), asyncio.Event(), asyncio.Event()
    afterword = Afterword(app, store_url)

    async def stream() -> AsyncIterator[bytes]:
        begun.set()
        yield b"x"
        await go_on.wait()
        raise RuntimeError("the stream breaks off")

    async def first(request: Request) -> Response:
        tasks = ByHand()
        tasks.add_task(note, "only the first's")
        tasks.options(unique="k").add_task(note, "x")
        return StreamingResponse(stream(), background=tasks)

    app.router.add_route("/first", first, methods=["POST"])
    given: list[Job[Any]] = []

    @app.post("/second")
    async def second(background_tasks: BackgroundTasks) -> None:
        given.append(background_tasks.options(unique="k").add_task(note, "x"))

    async with started(afterword):
        broken = asyncio.create_task(request(app, "/first"))
        await begun.wait()
        answer = await request(app, "/second")
        go_on.set()
        with pytest.raises(RuntimeError):
            await broken
        await wait_for(lambda: seen, description="it has run")
        (job,) = await records(afterword)

    assert 200 == status_of(answer)
    assert (given[0].id, JobState.COMPLETED) == (job.id, job.state)
    assert ["x"] == seen


async def test_a_job_that_another_request_was_given_runs_though_one_before_it_fails(
    store_url: str,
) -> None:
    """A failure stops the later jobs of its request, not those of another one."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        unique = background_tasks.options(unique="k")
        if seen:
            return [unique.add_task(note, "U")]
        first = background_tasks.add_task(wait_at_gate_then_fail, "A")
        return [first, unique.add_task(note, "U"), background_tasks.add_task(note, "D")]

    async with serving(store_url, add) as site:
        first = await site.post()
        await wait_for(lambda: seen, description="A runs")
        second = await site.post()
        gate.set()
        states = {job.id: job.state for job in await records(site.afterword)}

    assert [first[1]] == second
    assert JobState.FAILED is states[first[0]]
    assert JobState.COMPLETED is states[first[1]]


def wait_at_gate_then_fail(name: str) -> None:
    """Fail once the gate is open."""
    wait_at_gate(name)
    raise RuntimeError(name)


async def test_a_unique_job_that_nobody_else_was_given_is_discarded(store_url: str) -> None:
    app = FastAPI()
    afterword = Afterword(app, store_url)

    async def stream() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("the stream breaks off")

    async def route(request: Request) -> Response:
        tasks = ByHand()
        tasks.options(unique="k").add_task(note, "must not run")
        return StreamingResponse(stream(), background=tasks)

    app.router.add_route("/", route, methods=["POST"])
    async with started(afterword):
        with pytest.raises(RuntimeError):
            await request(app)
        await (await afterword.options(unique="k").add_task(note, "runs")).wait(60)
        jobs = await records(afterword)

    assert 1 == len(jobs)
    assert ["runs"] == seen


# ---------------------------------------------------------------------- in the middle


def chain(background_tasks: BackgroundTasks, first: Any) -> list[Job[Any]]:
    """Add A, then the unique U, then D."""
    return [
        background_tasks.add_task(first, "A"),
        background_tasks.options(unique="k").add_task(wait_at_gate, "U"),
        background_tasks.add_task(note, "D"),
    ]


async def test_behind_a_job_of_others_comes_what_was_added_before_it(store_url: str) -> None:
    """D follows A although U is another request's: A fails, so D does not run."""
    async with serving(store_url, lambda tasks: chain(tasks, fail)) as site:
        there = await site.afterword.options(unique="k").add_task(wait_at_gate, "U")
        await wait_for(lambda: seen, description="U runs")
        ids = await site.post()
        await site.jobs[2].wait(60)
        gate.set()
        states = {job.id: job.state for job in await records(site.afterword)}

    assert there.id == ids[1]
    assert [JobState.FAILED, JobState.COMPLETED, JobState.CANCELLED] == [states[i] for i in ids]
    assert ["U", "A", "U ends"] == seen


async def test_it_runs_once_what_was_added_before_it_has_completed(store_url: str) -> None:
    async with serving(store_url, lambda tasks: chain(tasks, note)) as site:
        await site.afterword.options(unique="k").add_task(wait_at_gate, "U")
        await wait_for(lambda: seen, description="U runs")
        await site.post()
        await site.jobs[2].wait(60)
        gate.set()
        jobs = await records(site.afterword)

    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert ["U", "A", "D", "U ends"] == seen


async def test_one_key_twice_in_a_chain(store_url: str) -> None:
    """The calls are A, B (k), C, B again, D: D follows C, and is stopped when C fails."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        unique = background_tasks.options(unique="k")
        return [
            background_tasks.add_task(note, "A"),
            unique.add_task(note, "B"),
            background_tasks.add_task(fail, "C"),
            unique.add_task(note, "B"),
            background_tasks.add_task(note, "D"),
        ]

    async with serving(store_url, add) as site:
        ids = await site.post()
        jobs = await records(site.afterword)

    assert ids[1] == ids[3]
    assert [JobState.COMPLETED] * 2 + [JobState.FAILED, JobState.CANCELLED] == [
        job.state for job in jobs
    ]
    assert ["A", "B", "C"] == seen


async def test_behind_nothing_but_a_job_of_others_comes_that_job(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [
            background_tasks.options(unique="k").add_task(wait_at_gate, "U"),
            background_tasks.add_task(note, "D"),
        ]

    async with serving(store_url, add) as site:
        await site.afterword.options(unique="k").add_task(wait_at_gate, "U")
        await wait_for(lambda: seen, description="U runs")
        await site.post()
        gate.set()
        await records(site.afterword)

    assert ["U", "U ends", "D"] == seen


async def test_what_two_requests_share_keeps_the_order_of_both(file_url: str) -> None:
    """Many requests at once each have their own jobs around a shared one."""

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        number = len(handles)
        handles.append(number)
        return [
            background_tasks.add_task(note, f"A{number}"),
            background_tasks.options(unique="k").add_task(note, "U"),
            background_tasks.add_task(note, f"D{number}"),
        ]

    handles: list[int] = []
    async with serving(file_url, add) as site:
        await asyncio.gather(*(site.client.post("/") for _ in range(10)))
        jobs = await records(site.afterword)

    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert all(seen.index(f"A{n}") < seen.index(f"D{n}") for n in handles)
    assert len(jobs) == len(seen)
