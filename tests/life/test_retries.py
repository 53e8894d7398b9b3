"""Retries in a worker: their number, their delays, and the record of each attempt."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afterword import Afterword, Cancel, Job, JobState, Retry, current_task, task
from afterword.fastapi import BackgroundTasks
from tests.at_work import asked, wait_for
from tests.life.process import kill, started
from tests.life.site import (
    PATIENCE,
    fail,
    gate,
    job_of,
    note,
    script,
    seen,
    serving,
    sleep_long,
    store_of,
    working,
)
from tests.life.tasks import at_most_once, names, note_and_hang

pytestmark = pytest.mark.anyio


def outcomes(afterword: Any, job: Job[Any]) -> list[tuple[int, str | None]]:
    """Return the outcome of each attempt."""
    return [(each.attempt, each.outcome) for each in store_of(afterword).attempts(job.id)]


@task(retries=3, backoff=0)
def works_the_third_time(name: str) -> str:
    seen.append(current_task().attempt)
    if current_task().attempt < 3:
        raise ConnectionError(f"{name}: attempt {current_task().attempt}")
    return name


async def test_a_job_is_tried_again_until_it_works(store_url: str) -> None:
    """Each run has a higher number; its error is kept."""
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(works_the_third_time, "x")).wait(60)
        attempts = store_of(afterword).attempts(job.id)

    assert (JobState.COMPLETED, 3, "x") == (job.state, job.attempt, job.result)
    assert [1, 2, 3] == seen
    assert ["failed", "failed", "completed"] == [each.outcome for each in attempts]
    assert ["x: attempt 1", "x: attempt 2", None] == [
        each.error and each.error.rpartition("ConnectionError: ")[2] for each in attempts
    ]
    assert job.error is None


@task(retries=2, backoff=[0.15, 0.3])
def never_works() -> None:
    seen.append(time.monotonic())
    gate.wait(PATIENCE)
    raise ConnectionError(f"attempt {current_task().attempt}")


async def test_retries_end_and_keep_their_distance(store_url: str) -> None:
    """Two retries are three attempts; each waits at least as long as `backoff` says."""
    gate.set()
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(never_works)).wait(60)

    assert (JobState.FAILED, 3) == (job.state, job.attempt)
    assert (job.error or "").endswith("ConnectionError: attempt 3")
    assert 0.15 <= seen[1] - seen[0] < 60
    assert 0.3 <= seen[2] - seen[1] < 60


async def queue_after_failure(afterword: Afterword, job: Job[Any]) -> None:
    """Let the attempt that waits at the gate fail, and hold the next one back."""
    store = store_of(afterword)
    await wait_for(lambda: seen, description="it has started")
    assert await asyncio.to_thread(store.pause, ["default"])
    gate.set()
    await wait_for(lambda: asked(job).state is JobState.QUEUED, description="it has failed")


async def test_failures_are_counted_across_a_restart(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(never_works)
        await queue_after_failure(afterword, job)
    between = len(seen)
    async with working(store_url) as afterword:
        store_of(afterword).resume(["default"])
        again = await (await job_of(afterword, job)).wait(60)

    assert 1 == between
    assert (JobState.FAILED, 3) == (again.state, again.attempt)
    assert 3 == len(seen)


@task(retries=1, backoff=0)
async def works_once_undisturbed(name: str) -> None:
    if len(seen) < 2:
        await sleep_long(name)
    seen.append(current_task().attempt)
    raise ConnectionError(name)


async def test_a_shutdown_is_no_failure(store_url: str) -> None:
    """The interrupted attempt has a number, but uses no retry."""
    async with working(store_url, grace=0) as afterword:
        job = await afterword.add_task(works_once_undisturbed, "x")
        await wait_for(lambda: seen, description="it has started")
    async with working(store_url) as afterword:
        between = outcomes(afterword, job)
        again = await (await job_of(afterword, job)).wait(60)
        record = again.record

    assert ["x", "x tidied up", 2, 3] == seen
    assert [(1, "interrupted")] == between[:1]
    assert JobState.FAILED is again.state
    assert record
    assert (1, 0) == (record.interrupted, record.lost)


@task(retries=3, backoff=0, retry_on=(ConnectionError, TimeoutError))
def raise_one(name: str) -> None:
    seen.append(name)
    raise {"value": ValueError, "connection": ConnectionResetError}[name](name)


@pytest.mark.parametrize(("name", "attempts"), [("value", 1), ("connection", 4)])
async def test_only_errors_worth_it_are_tried_again(
    name: str, attempts: int, file_url: str
) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(raise_one, name)).wait(60)

    assert (JobState.FAILED, attempts) == (job.state, job.attempt)


async def test_without_retries_the_first_failure_is_the_last(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(fail, "x")).wait(60)

    assert (JobState.FAILED, 1, ["x"]) == (job.state, job.attempt, seen)


@task(backoff=0)
def fail_quickly(text: str) -> None:
    fail(text)


@pytest.mark.parametrize(
    ("func", "call", "attempts"),
    [
        pytest.param(fail_quickly, {}, 3, id="the-application"),
        pytest.param(fail_quickly, {"retries": 1}, 2, id="the-call"),
        pytest.param(fail_quickly, {"retries": 0}, 1, id="none"),
        pytest.param(raise_one, {"retries": 0}, 1, id="the-call-before-the-task"),
        pytest.param(raise_one, {}, 4, id="the-task-before-the-application"),
    ],
)
async def test_the_nearest_word_on_retries_counts(
    func: Any, call: dict[str, Any], attempts: int, file_url: str
) -> None:
    async with working(file_url, retries=2) as afterword:
        job = await afterword.options(**call).add_task(func, "connection")
        await job.wait(60)

    assert attempts == job.attempt


# ---------------------------------------------------------------------- the task says so


def be_patient(seconds: float) -> str:
    seen.append(time.monotonic())
    gate.wait(PATIENCE)
    if current_task().attempt == 1:
        raise Retry("busy", delay=seconds)
    return "done"


@task(retries=0)
def never_again() -> None:
    raise Retry("busy")


async def test_a_task_says_when_it_is_to_be_tried_again(store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.add_task(be_patient, 0.4)
        await queue_after_failure(afterword, job)
        waiting = job.error or ""
        store_of(afterword).resume(["default"])
        await job.wait(60)

    assert waiting.endswith("Retry: busy")
    assert (JobState.COMPLETED, 2, "done") == (job.state, job.attempt, job.result)
    assert 0.4 <= seen[1] - seen[0] < 60


async def test_a_task_that_asks_for_a_retry_it_does_not_have_fails(file_url: str) -> None:
    async with working(file_url) as afterword:
        job = await (await afterword.add_task(never_again)).wait(60)

    assert (JobState.FAILED, 1) == (job.state, job.attempt)


@task(retries=5, backoff=0)
async def cancel_itself(reason: str) -> None:
    seen.append(reason)
    raise Cancel(reason)


async def test_a_task_cancels_itself_and_what_follows(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        first = background_tasks.add_task(cancel_itself, "the user is gone")
        return [first, background_tasks.add_task(note, "follows")]

    async with serving(store_url, add) as site:
        await site.post()
        jobs = [await job.wait(60) for job in site.jobs]

    assert [JobState.CANCELLED] * 2 == [job.state for job in jobs]
    assert "the user is gone" == jobs[0].error
    assert ["the user is gone"] == seen


class EvilCancel(Cancel):
    """An exception whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


CANCELS: dict[str, Callable[[], Cancel]] = {
    "half-a-surrogate": lambda: Cancel("\ud800"),
    "nul": lambda: Cancel("a\0b"),
    "50-MB": lambda: Cancel("x" * 50_000_000),
    "no-text": EvilCancel,
    "no-string": lambda: Cancel(object()),  # type: ignore[arg-type]
}


@task(retries=5, backoff=0)
def cancel_oddly(name: str) -> None:
    error = CANCELS[name]()
    raise error


@pytest.mark.parametrize("name", CANCELS)
async def test_whatever_its_reason_it_is_cancelled(name: str, store_url: str) -> None:
    """A task may give any object as a reason."""
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(cancel_oddly, name)).wait(60)

    assert (JobState.CANCELLED, 1) == (job.state, job.attempt)
    assert 0 < len(job.error or "") < 20_000


# ---------------------------------------------------------------------- others


async def test_what_follows_waits_until_the_retries_are_over(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        first = background_tasks.add_task(works_the_third_time, "x")
        return [first, background_tasks.add_task(note, "follows")]

    async with serving(store_url, add) as site:
        await site.post()
        await site.jobs[1].wait(60)

    assert [1, 2, 3, "follows"] == seen


async def test_a_retry_by_hand_starts_anew(store_url: str) -> None:
    """Attempts continue to count; failures start at zero."""
    async with working(store_url) as afterword:
        job = await (await afterword.add_task(raise_one, "connection")).wait(60)
        store_of(afterword).retry([job.id])
        await job.wait(60)
        attempts = outcomes(afterword, job)

    assert (JobState.FAILED, 8) == (job.state, job.attempt)
    assert [(number, "failed") for number in range(1, 9)] == attempts


async def test_another_process_may_make_the_next_attempt(tmp_path: Path, store_url: str) -> None:
    async with working(store_url) as first:
        job = await first.add_task(be_patient, 0.3)
        await wait_for(lambda: seen, description="it has run once")
    async with working(store_url):
        with script(store_url) as other:
            again = await job_of(other, job)
            await again.wait(60)

    assert (JobState.COMPLETED, 2) == (again.state, again.attempt)


# ---------------------------------------------------------------------- a worker that dies


@pytest.mark.parametrize(
    ("func", "state", "runs"),
    [(at_most_once, JobState.FAILED, 1), (note_and_hang, JobState.RUNNING, 2)],
)
async def test_a_task_says_whether_it_may_run_again_when_its_worker_died(
    func: Callable[[str], None], state: JobState, runs: int, store_url: str, ledger: Path
) -> None:
    """At least once is the default; `on_crash="fail"` means at most once."""
    with script(store_url) as afterword:
        job = await afterword.add_task(func, "x")
        with started("work", store_url) as process:
            await wait_for(lambda: names(ledger, "begin"), description="it runs")
            kill(process, store_of(afterword))
        with started("work", store_url):
            await wait_for(
                lambda: (
                    len(names(ledger, "begin")) == runs
                    and asked(job).state is state
                    and job.attempt == runs
                ),
                description="it has been recovered",
            )

    assert runs == len(names(ledger, "begin"))
    assert (state is JobState.FAILED) == bool(job.error)
