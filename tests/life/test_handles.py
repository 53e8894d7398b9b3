"""Handles of jobs: their data, their queries, and their errors."""

import asyncio
import contextvars
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, Job, JobState, current_task
from afterword.client.handle import ProgressRecord
from afterword.errors import ConfigurationError, NotInstalled, UnknownJob, WouldBlock
from afterword.fastapi import BackgroundTasks
from afterword.model.job import new_id
from afterword.store.opening import open_store
from afterword.store.protocol import Report
from tests.at_work import wait_for
from tests.life.site import (
    fail,
    gate,
    job_of,
    note,
    note_async,
    script,
    seen,
    serving,
    wait_at_gate,
    working,
)

pytestmark = pytest.mark.anyio


async def test_a_handle_knows_what_it_has_asked_for(store_url: str) -> None:
    """Reading a handle asks nothing: it has the data of its last query."""
    async with working(store_url) as afterword:
        job = await afterword.add_task(wait_at_gate, "x")
        at_first = (job.state, job.attempt, job.error, job.progress, job.result, job.record)
        await wait_for(lambda: seen, description="it runs")
        before = job.state
        await job.refresh()
        between = (job.state, job.attempt)
        gate.set()
        await job.wait(60)

    assert (JobState.QUEUED, 0, None, None, None, None) == at_first
    assert JobState.QUEUED is before
    assert (JobState.RUNNING, 1) == between
    assert (JobState.COMPLETED, 1, "late") == (job.state, job.attempt, job.result)
    assert job.durable
    assert not job.conflict


async def test_a_job_is_found_by_its_id_from_anywhere(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(fail, "broken")).wait(60)
        unknown = await afterword.job(new_id())
        with script(store_url) as other:
            found = await other.job(job.id)
            in_a_thread = await asyncio.to_thread(other.job_sync, job.id)
            nothing = [await other.job(text) for text in ("", "x" * 10_000, "\ud800", "a\0b")]

    assert unknown is None
    assert found
    assert in_a_thread
    assert (job.id, JobState.FAILED) == (found.id, found.state)
    assert job.error == found.error == in_a_thread.error
    assert "RuntimeError: broken" in (job.error or "")
    assert [None] * 4 == nothing


def test_threads_and_scripts_have_the_same(store_url: str) -> None:
    """The sync methods work in a program without an event loop."""
    app = FastAPI()
    afterword = Afterword(app, store_url, grace=2.0)
    with TestClient(app):
        job = afterword.add_task_sync(note, "x").wait_sync(20)
        optional = afterword.options(delay=60).add_task_sync(note_async, "y")
        answer = optional.cancel_sync("no")
        found = afterword.job_sync(job.id)

    assert (JobState.COMPLETED, "x") == (job.state, job.result)
    assert (True, JobState.CANCELLED) == (answer, optional.state)
    assert found
    assert (JobState.COMPLETED, "x") == (found.refresh_sync().state, found.result)
    assert ["x"] == seen


async def test_a_person_who_cancels_is_in_the_audit(store_url: str) -> None:
    async with working(store_url) as afterword:
        jobs = [await afterword.options(delay=60).add_task(note, "x") for _ in range(3)]
        await jobs[0].cancel("no", by="ada")
        await asyncio.to_thread(jobs[1].cancel_sync, by="eve")
        await jobs[2].cancel()
        found = afterword.inquiries.store().audit()
        with pytest.raises(ConfigurationError, match="by must be the name of a user"):
            await jobs[2].cancel(by=7)  # type: ignore[arg-type]

    expected = [
        ("eve", "application", "cancel", jobs[1].id),
        ("ada", "application", "cancel", jobs[0].id),
    ]
    assert expected == [(each.name, each.place, each.action, each.target) for each in found]


async def test_waiting_gives_up_and_the_job_goes_on(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(wait_at_gate, "x")
        at = time.monotonic()
        with pytest.raises(TimeoutError):
            await job.wait(timeout=0.2)
        with pytest.raises(TimeoutError, match=job.id):
            await asyncio.to_thread(job.wait_sync, 0.2)
        seconds = time.monotonic() - at
        gate.set()
        await job.wait(timeout=60)

    assert 0.4 <= seconds < 30
    assert JobState.COMPLETED is job.state


async def test_what_has_ended_need_not_be_waited_for(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(note, "x")).wait()
        again = await (await job_of(afterword, job)).wait(timeout=0)
        in_a_thread = await asyncio.to_thread(job.wait_sync, 0)

    assert [JobState.COMPLETED] * 2 == [again.state, in_a_thread.state]


async def test_many_wait_at_once_and_one_of_them_may_give_up(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await afterword.add_task(wait_at_gate, "x")
        waiting = [asyncio.ensure_future((await job_of(afterword, job)).wait()) for _ in range(20)]
        await wait_for(lambda: seen, description="it runs")
        waiting[0].cancel()
        gate.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(ended[0], asyncio.CancelledError)
    assert [JobState.COMPLETED] * 19 == [
        each.state for each in ended if not isinstance(each, BaseException)
    ]


# ---------------------------------------------------------------------- progress


def test_a_job_says_how_far_it_is(store_url: str) -> None:
    """Any stored progress can be read."""
    store = open_store(store_url)
    with script(store_url) as afterword:
        job = afterword.add_task_sync(note, "x")
        store.open()
        store.join("somebody", 60)
        (claim,) = store.claim("somebody", ["default"], 1)
        progress = []
        for text in ('{"current": 1, "total": 4, "message": "a"}', "[1]", '{"colour": 1}'):
            store.report([Report(claim, text)])
            progress.append(job.refresh_sync().progress)
        store.close()

    assert [ProgressRecord(1, 4, "a"), None, ProgressRecord()] == progress
    assert [0.25, None] == [each.ratio for each in progress if each]


# ---------------------------------------------------------------------- calls that are not stored


async def test_a_call_that_cannot_be_stored_says_so_when_it_is_asked(file_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.add_task(lambda: seen.append("ran"))]

    async with serving(file_url, add) as site:
        await site.post()
        (job,) = site.jobs
        for ask in (job.refresh, job.wait, job.cancel):
            with pytest.raises(NotInstalled, match="cannot be stored"):
                await ask()
        with pytest.raises(NotInstalled):
            await asyncio.to_thread(job.wait_sync)

    assert not job.durable
    assert (JobState.QUEUED, None) == (job.state, job.result)
    assert ["ran"] == seen


def test_without_a_lifespan_there_is_nobody_to_ask(tmp_path: Path) -> None:
    app = FastAPI()
    Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}")
    jobs: list[Job[Any]] = []

    @app.post("/")
    def route(background_tasks: BackgroundTasks) -> None:
        jobs.append(background_tasks.add_task(note, "x"))

    TestClient(app).post("/")
    with pytest.raises(NotInstalled, match="has not been started"):
        jobs[0].wait_sync()

    assert not jobs[0].durable
    assert ["x"] == seen


async def test_who_waits_for_a_job_of_its_own_request_is_told_so(file_url: str) -> None:
    """The job starts after the request, which would wait for the job."""
    errors: list[Exception] = []

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        job = background_tasks.add_task(note, "x")

        def ask() -> None:
            for call in (job.wait_sync, job.cancel_sync):
                try:
                    call()
                except (UnknownJob, WouldBlock) as error:
                    errors.append(error)

        context = contextvars.copy_context()  # as in the thread of a `def` route
        thread = threading.Thread(target=context.run, args=(ask,))
        thread.start()
        thread.join()
        return [job]

    async with serving(file_url, add) as site:
        await site.post()
        await site.jobs[0].wait(60)

    assert [WouldBlock, UnknownJob] == [type(error) for error in errors]
    assert "await afterword.add_task(func); await job.wait()  # correct!" in str(errors[0])
    assert "A job of a request is stored when the response starts" in str(errors[1])
    assert ["x"] == seen


async def test_a_deleted_job_is_unknown(store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        job = await afterword.options(delay=60).add_task(note, "x")
        known = await job_of(afterword, job)
        afterword.inquiries.store().delete([job.id])
        found = await afterword.job(job.id)
        with pytest.raises(UnknownJob):
            await job.wait(60)
        await known.refresh()

    assert found is None
    assert JobState.QUEUED is known.state  # the last known state


async def remember_key() -> tuple[str, int]:
    return current_task().idempotency_key, current_task().attempt


async def test_a_task_has_a_key_for_all_its_attempts(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(remember_key)).wait(60)

    assert (job.id, 1) == job.result


@pytest.mark.parametrize("added_here", [True, False])
async def test_a_running_job_says_since_when(added_here: bool, store_url: str) -> None:
    """This holds for a job that this process added, and for one that it claimed."""
    async with working(store_url) as afterword:
        with script(store_url) as other:
            job = await (afterword if added_here else other).add_task(wait_at_gate, "x")
        await wait_for(lambda: seen, description="it runs")
        running = (await job_of(afterword, job)).record
        gate.set()

    assert running is not None
    assert (JobState.RUNNING, None) == (running.state, running.finished_at)
    assert running.started_at is not None
    assert running.created_at <= running.started_at
