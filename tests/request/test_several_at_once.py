"""Several coroutines or threads of one request that add and store at the same time.

Every job runs once, none stays running without an owner, and a request's jobs are one chain.
"""

import asyncio
import json
import threading
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from afterword import Afterword, Job, JobRecord, JobState
from afterword.fastapi import BackgroundTasks
from afterword.request.outbox import open_outbox
from tests.life.site import note, note_async, seen
from tests.request.gates import (
    LOOP_NAMES,
    LOOPS,
    before_the_store_answers,
    before_the_store_begins,
    connect,
    impatient,
    is_queued,
    records,
    request,
    started,
    status_of,
)

pytestmark = pytest.mark.anyio

SENDERS, EACH = 3, 5


@pytest.fixture(params=LOOPS, ids=LOOP_NAMES)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop, which decides the coroutine that continues first."""
    return request.param


def assert_in_order(jobs: list[JobRecord]) -> None:
    """Check that they ran one after the other, in the order of adding."""
    texts = [json.loads(job.arguments)["text"] for job in jobs]

    assert texts == [each for each in seen if each in texts]
    assert 1 == len({job.request_id for job in jobs})


# ---------------------------------------------------------------------- WebSockets


def chatting(url: str, **options: Any) -> tuple[FastAPI, Afterword]:
    """Serve a WebSocket whose handler adds and sends from several coroutines."""
    app = FastAPI()
    afterword = Afterword(app, url, **options)

    @app.websocket("/")
    async def handler(websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
        await websocket.accept()

        async def talk(sender: int) -> None:
            for number in range(EACH):
                background_tasks.add_task(note_async, f"{sender}-{number}")
                await websocket.send_text("added")

        await asyncio.gather(*(talk(sender) for sender in range(SENDERS)))
        await websocket.close()

    return app, afterword


@pytest.mark.parametrize("order", ["sequential", "concurrent"])
async def test_a_websocket_with_several_senders_loses_no_job(store_url: str, order: str) -> None:
    app, afterword = chatting(store_url, order=order)
    async with started(afterword):
        for _ in range(3):
            await asyncio.wait_for(connect(app), 30)
        jobs = await records(afterword)

    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert 3 * SENDERS * EACH == len(jobs) == len(seen)
    assert 3 == len({job.request_id for job in jobs})


async def test_jobs_of_several_senders_are_one_chain(store_url: str) -> None:
    app, afterword = chatting(store_url)
    async with started(afterword):
        await asyncio.wait_for(connect(app), 30)
        assert_in_order(await records(afterword))


@pytest.mark.parametrize("hold", [before_the_store_begins, before_the_store_answers])
async def test_senders_that_meet_while_the_store_is_at_it(hold: Any, file_url: str) -> None:
    app, afterword = chatting(file_url, order="concurrent")
    async with started(afterword):
        with hold(afterword):
            connection = asyncio.create_task(connect(app))
            for _ in range(50):
                await asyncio.sleep(0)
        await asyncio.wait_for(connection, 30)
        jobs = await records(afterword)

    assert SENDERS * EACH == len(jobs) == len({*seen})
    assert {JobState.COMPLETED} == {job.state for job in jobs}


async def test_all_senders_learn_that_the_store_has_failed(file_url: str) -> None:
    """None of them answers for a job that does not exist."""
    app, afterword = chatting(file_url)
    async with started(afterword):
        with impatient(afterword), before_the_store_begins(afterword):
            sent = await asyncio.wait_for(connect(app), 30)
        jobs = await records(afterword)

    assert [] == [each for each in sent if each["type"] == "websocket.send"]
    assert [] == jobs
    assert [] == seen


async def test_a_websocket_whose_client_leaves_keeps_what_it_has_sent(file_url: str) -> None:
    app = FastAPI()
    afterword = Afterword(app, file_url)

    @app.websocket("/")
    async def handler(websocket: WebSocket, background_tasks: BackgroundTasks) -> None:
        await websocket.accept()
        background_tasks.add_task(note, "sent")
        await websocket.send_text("added")
        background_tasks.add_task(note, "before it left")
        raise WebSocketDisconnect

    async with started(afterword):
        with suppress(WebSocketDisconnect):
            await asyncio.wait_for(connect(app), 30)
        jobs = await records(afterword)

    assert [JobState.COMPLETED] * 2 == [job.state for job in jobs]
    assert ["sent", "before it left"] == seen


# ---------------------------------------------------------------------- threads


def in_threads(background_tasks: BackgroundTasks, count: int = 4, each: int = 10) -> list[Job[Any]]:
    """Add calls from several threads at once."""
    jobs: list[Job[Any]] = []
    ready = threading.Barrier(count)

    def add(thread: int) -> None:
        ready.wait(30)
        jobs.extend(background_tasks.add_task(note, f"{thread}-{number}") for number in range(each))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return jobs


async def test_threads_of_a_request_make_one_chain(store_url: str) -> None:
    """Calls of two threads may be added in another order than that in which they got their ids."""
    app = FastAPI()
    afterword = Afterword(app, store_url)
    added: list[str] = []

    @app.post("/")
    def route(background_tasks: BackgroundTasks) -> None:
        in_threads(background_tasks)
        outbox = open_outbox()
        assert outbox is not None
        added.extend(entry.handle.id for entry in outbox.entries)

    async with started(afterword):
        sent = await request(app)
        jobs = sorted(await records(afterword), key=lambda job: added.index(job.id))

    assert 200 == status_of(sent)
    assert 40 == len(jobs) == len({*seen}) == len(seen)
    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert_in_order(jobs)


@pytest.mark.parametrize("order", ["sequential", "concurrent"])
async def test_threads_behind_the_request_lose_no_job(store_url: str, order: Any) -> None:
    app = FastAPI()
    afterword = Afterword(app, store_url, order=order)
    kept: list[BackgroundTasks] = []

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        kept.append(background_tasks)
        background_tasks.add_task(note, "in the request")

    async with started(afterword):
        await request(app)
        handles = await asyncio.to_thread(in_threads, kept[0])
        jobs = await records(afterword)

    assert {job.id for job in handles} < {job.id for job in jobs}
    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert 41 == len(jobs) == len({*seen}) == len(seen)


async def test_threads_that_add_while_the_request_ends_lose_no_job(file_url: str) -> None:
    """Some add before its end, and some after it."""
    app = FastAPI()
    afterword = Afterword(app, file_url)
    threads: list[threading.Thread] = []
    added: list[str] = []

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        def add(thread: int) -> None:
            for number in range(10):
                background_tasks.add_task(note, f"{thread}-{number}")
                added.append(f"{thread}-{number}")

        for number in range(3):
            threads.append(threading.Thread(target=add, args=(number,)))
            threads[-1].start()

    async with started(afterword):
        sent = await request(app)
        for thread in threads:
            await asyncio.to_thread(thread.join, 60)
        jobs = await records(afterword)

    assert 200 == status_of(sent)
    assert 30 == len(added) == len(jobs)
    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert sorted(added) == sorted(seen)


async def test_scripts_and_coroutines_add_at_the_same_time(store_url: str) -> None:
    async with started(Afterword(FastAPI(), store_url)) as afterword:

        def add_sync(number: int) -> str:
            return afterword.add_task_sync(note, f"thread {number}").id

        async def add(number: int) -> str:
            return (await afterword.add_task(note, f"coroutine {number}")).id

        ids = await asyncio.gather(
            *(add(number) for number in range(30)),
            *(asyncio.to_thread(add_sync, number) for number in range(30)),
        )
        jobs = await records(afterword)

    assert sorted(ids) == sorted(job.id for job in jobs)
    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert 60 == len(seen) == len({*seen})


async def test_a_request_and_what_it_has_started_store_together(file_url: str) -> None:
    """The answer starts while the job of one of the request's coroutines is being stored."""
    app = FastAPI()
    afterword = Afterword(app, file_url)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "request's")
        await asyncio.gather(*(afterword.add_task(note, f"{number}") for number in range(3)))

    async with started(afterword):
        with before_the_store_begins(afterword):
            calls = [asyncio.create_task(request(app)) for _ in range(3)]
            await is_queued(afterword)
        for call in calls:
            await asyncio.wait_for(call, 30)
        jobs = await records(afterword)

    assert 12 == len(jobs) == len(seen)
    assert {JobState.COMPLETED} == {job.state for job in jobs}
