"""Temporary errors: retries, and time limits for tasks that hang."""

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, Cancel, JobState, Retry, current_task, task
from afterword.retry import Backoff


@task(retries=5, backoff=0.01, retry_on=ConnectionError)
def fetch(item: str, works_on_attempt: int) -> str:
    """Fetch an item; `backoff` is the first delay in seconds, and the next ones double."""
    if item == "moon":
        raise LookupError("not in stock")
    if current_task().attempt < works_on_attempt:
        raise ConnectionError("the shop is closed")
    return f"a {item}"


def ask(answer: int) -> None:
    if answer == 429 and current_task().attempt == 1:
        raise Retry("asked to come back later", delay=0.01)
    if answer == 410:
        raise Cancel("the user is gone")


@task(timeout=0.05)
async def hang() -> None:
    await asyncio.sleep(60)


def test_a_job_is_retried(app: FastAPI, afterword: Afterword) -> None:
    with TestClient(app):
        job = afterword.add_task_sync(fetch, "lamp", works_on_attempt=3).wait_sync(timeout=60)

    assert (JobState.COMPLETED, 3, "a lamp") == (job.state, job.attempt, job.result)


def test_retries_are_used_up(app: FastAPI, afterword: Afterword) -> None:
    """One retry is two attempts. An option of the call overrides the task's."""
    with TestClient(app):
        once = afterword.options(retries=1)
        job = once.add_task_sync(fetch, "lamp", works_on_attempt=3).wait_sync(timeout=60)

    assert (JobState.FAILED, 2) == (job.state, job.attempt)


def test_other_errors_are_not_retried(app: FastAPI, afterword: Afterword) -> None:
    """`retry_on` names temporary errors. The default is every `Exception`."""
    with TestClient(app):
        job = afterword.add_task_sync(fetch, "moon", works_on_attempt=1).wait_sync(timeout=60)

    assert (JobState.FAILED, 1) == (job.state, job.attempt)


def test_without_retries_a_job_fails_at_the_first_error(app: FastAPI, afterword: Afterword) -> None:
    """This is the default, because not every task may run twice."""
    with TestClient(app):
        none = afterword.options(retries=0)
        job = none.add_task_sync(fetch, "lamp", works_on_attempt=2).wait_sync(timeout=60)

    assert (JobState.FAILED, 1) == (job.state, job.attempt)


@pytest.mark.parametrize(
    ("answer", "state", "attempts"),
    [(200, JobState.COMPLETED, 1), (429, JobState.COMPLETED, 2), (410, JobState.CANCELLED, 1)],
)
def test_a_task_decides_itself(
    app: FastAPI, afterword: Afterword, answer: int, state: JobState, attempts: int
) -> None:
    """`raise Retry(...)` asks for another attempt, `raise Cancel(...)` for none."""
    with TestClient(app):
        job = afterword.add_task_sync(ask, answer).wait_sync(timeout=60)

    assert (state, attempts) == (job.state, job.attempt)


def test_an_attempt_may_have_a_time_limit(app: FastAPI, afterword: Afterword) -> None:
    """The attempt ends with a `TimeoutError`, which is retried like any other error."""
    with TestClient(app):
        job = afterword.add_task_sync(hang).wait_sync(timeout=60)

    assert JobState.FAILED is job.state
    assert job.error is not None
    assert "TimeoutError" in job.error


def test_a_backoff_says_how_long_to_wait() -> None:
    """With `@task(backoff=Backoff(...))`, jitter spreads retries of jobs that failed together."""
    backoff = Backoff(base=2, factor=3, cap=600, jitter=0.5)

    assert [2, 6, 18] == [backoff.delay(failures, chance=0) for failures in (1, 2, 3)]
    assert 1 == backoff.delay(1, chance=1)
    assert 600 == backoff.delay(100, chance=0)
