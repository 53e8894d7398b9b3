"""Cancelling from any process: queued jobs at once, running ones soon."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from afterword import Afterword, Job, JobState, current_task, task
from afterword.fastapi import BackgroundTasks
from afterword.model.outcome import RetryAt
from afterword.store.opening import open_store
from afterword.store.protocol import STOPPED, Settlement
from tests.at_work import asked, wait_for
from tests.life.process import kill, started
from tests.life.site import (
    gate,
    ignore_the_end,
    job_of,
    note,
    script,
    seen,
    serving,
    sleep_long,
    store_of,
    wait_at_gate,
    working,
)
from tests.life.tasks import names, note_and_hang

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- what waits


@pytest.mark.parametrize("delay", [0, 60], ids=["queued", "scheduled"])
async def test_what_waits_is_cancelled_at_once(delay: float, store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        job = await afterword.options(delay=delay).add_task(note, "never")
        answer = await job.cancel("not wanted")
        again = await job.cancel("twice")
    async with working(store_url) as afterword:
        await (await afterword.add_task(note, "other")).wait(60)

    assert (True, False) == (answer, again)
    assert (JobState.CANCELLED, 0, "not wanted") == (job.state, job.attempt, job.error)
    assert ["other"] == seen


@task(retries=3, backoff=60)
def fail_and_wait() -> None:
    seen.append(current_task().attempt)
    raise ConnectionError("no")


async def test_what_waits_for_its_next_attempt_is_cancelled_at_once(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(fail_and_wait)
        await wait_for(
            lambda: seen and asked(job).state is JobState.QUEUED,
            description="it waits for its next attempt",
        )
        answer = await job.cancel()

    assert answer
    assert (JobState.CANCELLED, 1) == (job.state, job.attempt)
    assert "cancelled on request" == job.error


async def test_what_follows_is_cancelled_with_it(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [
            background_tasks.add_task(sleep_long, "first"),
            background_tasks.add_task(note, "second"),
            background_tasks.add_task(note, "third"),
        ]

    async with serving(store_url, add) as site:
        await site.post()
        first, second, third = site.jobs
        await second.cancel("not this one")
        await third.wait(60)
        await first.refresh()
        await wait_for(lambda: seen, description="the first one runs")
        await first.cancel()
        await first.wait(60)

    assert (JobState.CANCELLED, "not this one") == (second.state, second.error)
    assert (JobState.CANCELLED, STOPPED) == (third.state, third.error)
    assert ["first", "first tidied up"] == seen


class Held:
    """A request whose job is stored and held, until the test lets the request end."""

    def __init__(self, url: str, **options: Any) -> None:
        self.app = FastAPI()
        self.afterword = Afterword(self.app, url, **options)
        self.job: Job[Any] | None = None

        async def resource() -> AsyncIterator[None]:
            yield
            await wait_for(gate.is_set, description="the request may end")

        @self.app.post("/")
        async def route(
            background_tasks: BackgroundTasks, _: Annotated[None, Depends(resource)]
        ) -> None:
            self.job = background_tasks.add_task(note, "never")

    async def request(self) -> None:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            await client.post("/")

    async def stored(self) -> Job[Any]:
        """Wait until the job is in the store; returns it."""

        def is_there() -> bool:
            return bool(self.job and asked(self.job).record)

        await wait_for(is_there, description="the job is stored")
        assert self.job
        return self.job


@pytest.mark.parametrize("worker", [True, False], ids=["by-who-holds-it", "by-another-worker"])
async def test_a_job_whose_request_has_not_ended_never_starts(worker: bool, store_url: str) -> None:
    held = Held(store_url, worker=worker)
    await held.afterword.start()
    request = asyncio.ensure_future(held.request())
    job = await held.stored()
    answer = await job.cancel("changed my mind")
    between = job.state
    gate.set()
    await request
    await job.wait(60)
    await held.afterword.stop()

    assert answer
    assert JobState.RUNNING is between  # the store has given it to its process
    assert (JobState.CANCELLED, "changed my mind") == (job.state, job.error)
    assert [] == seen


# ---------------------------------------------------------------------- what runs


async def test_a_running_coroutine_is_cancelled_and_tidies_up(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(sleep_long, "x")
        await wait_for(lambda: seen, description="it runs")
        answer = await job.cancel("enough")
        await job.wait(60)

    assert answer
    assert (JobState.CANCELLED, 1, "enough") == (job.state, job.attempt, job.error)
    assert ["x", "x tidied up"] == seen


async def test_until_it_has_ended_it_is_cancelling(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(ignore_the_end, "x")
        await wait_for(lambda: seen, description="it runs")
        await job.cancel("enough")
        await wait_for(lambda: "x goes on" in seen, description="it has been told")
        await job.refresh()
        assert job.record
        between = (job.state, job.record.cancelling)
        gate.set()
        await job.wait(60)

    assert (JobState.RUNNING, "enough") == between
    assert 1 == seen.count("x goes on")  # cancelled once: its clean-up is not interrupted


def stop_when_told(name: str) -> str:
    seen.append(name)
    while not current_task().cancelled:
        time.sleep(0.005)
    seen.append(f"{name} stops")
    return "half of it"


async def test_a_thread_that_looks_is_cancelled(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(stop_when_told, "x")
        await wait_for(lambda: seen, description="it runs")
        await job.cancel("enough")
        await job.wait(60)

    assert (JobState.CANCELLED, "enough", None) == (job.state, job.error, job.result)
    assert ["x", "x stops"] == seen


async def test_a_thread_that_has_not_looked_has_completed(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(wait_at_gate, "x")
        await wait_for(lambda: seen, description="it runs")
        answer = await job.cancel("too late")
        gate.set()
        await job.wait(60)

    assert answer
    assert (JobState.COMPLETED, None, "late") == (job.state, job.error, job.result)


@task(retries=5, backoff=0)
async def fail_when_cancelled() -> None:
    seen.append(current_task().attempt)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise ConnectionError("while tidying up") from None


async def test_what_fails_while_it_is_cancelled_is_not_tried_again(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(fail_when_cancelled)
        await wait_for(lambda: seen, description="it runs")
        await job.cancel("enough")
        await job.wait(60)

    assert (JobState.CANCELLED, 1, "enough") == (job.state, job.attempt, job.error)


def test_what_fails_before_its_worker_has_looked_is_not_tried_again(store_url: str) -> None:
    """The store knows of the cancellation before the worker does."""
    store = open_store(store_url)
    with script(store_url) as afterword, contextlib.closing(store):
        job = afterword.add_task_sync(note, "x")
        store.open()
        store.join("somebody", 60)
        (claim,) = store.claim("somebody", ["default"], 1)
        job.cancel_sync("enough")
        store.settle([Settlement(claim, RetryAt(0.0, "no"))])
        job.refresh_sync()

    assert (JobState.CANCELLED, "enough") == (job.state, job.error)


async def test_another_process_cancels(store_url: str) -> None:
    """A script cancels a job of another worker, which notices it within half a second."""
    async with working(store_url) as afterword:
        job = await afterword.add_task(sleep_long, "x")
        await wait_for(lambda: seen, description="it runs")
        with script(store_url) as other:
            theirs = await job_of(other, job)
            at = time.monotonic()
            answer = await theirs.cancel("from elsewhere")
            await theirs.wait(60)
            seconds = time.monotonic() - at

    assert answer
    assert (JobState.CANCELLED, "from elsewhere") == (theirs.state, theirs.error)
    assert seconds < 20  # the task would take 60


async def test_cancelled_means_cancelled_also_when_the_worker_dies(
    store_url: str, ledger: Path
) -> None:
    """A job being cancelled is not run again when its lease ends."""
    with script(store_url) as afterword:
        job = await afterword.add_task(note_and_hang, "x")
        with started("work", store_url) as process:
            await wait_for(lambda: names(ledger, "begin"), description="it runs")
            process.send_signal(signal.SIGSTOP)  # it cannot react
            await job.cancel("enough")
            kill(process, store_of(afterword))
        async with working(store_url):
            await job.wait(60)

    assert (JobState.CANCELLED, 1, "enough") == (job.state, job.attempt, job.error)
    assert ["x"] == names(ledger, "begin")


# ---------------------------------------------------------------------- what has ended


async def test_what_has_ended_stays_as_it_is(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(note, "x")).wait(60)
        answer = await job.cancel("too late")

    assert answer is False
    assert (JobState.COMPLETED, None) == (job.state, job.error)


@pytest.mark.parametrize("reason", ["\ud800", "a\0b", "x" * 1_000_000, "\x1b[31m"])
async def test_any_reason_can_be_given(reason: str, store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        job = await afterword.options(delay=60).add_task(note, "x")
        answer = await job.cancel(reason)

    assert answer
    assert JobState.CANCELLED is job.state
    assert 0 < len(job.error or "") < 20_000
