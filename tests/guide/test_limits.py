"""Queues, priorities, limits and rates: the next job to start, and the number at a time.

All of this holds across all processes that share the store.
"""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, Job, JobState, task
from tests.helpers import wait_until

started: list[str] = []
running: Counter[str] = Counter()
most: Counter[str] = Counter()
lock = threading.Lock()
both = threading.Barrier(2, timeout=60)


@pytest.fixture(autouse=True)
def _nothing_started() -> None:
    started.clear()
    most.clear()


def note(name: str) -> None:
    started.append(name)


@task(queue="mail")
def send(name: str) -> None:
    started.append(f"mail to {name}")


@task(limit=1, key=lambda customer: customer)
def import_orders(customer: str, *, wait_for_another: bool = False) -> None:
    """Import orders, one job at a time for each customer."""
    with lock:
        running[customer] += 1
        most[customer] = max(most[customer], running[customer])
    if wait_for_another:
        both.wait()
    else:
        time.sleep(0.01)
    with lock:
        running[customer] -= 1


@task(rate="2/h")
def call_an_expensive_service() -> None: ...


def test_the_lowest_priority_number_starts_first(app: FastAPI, url: str) -> None:
    """A script adds the jobs before a worker with a single slot starts."""
    script = Afterword(None, url)
    for name, priority in (("later", 10), ("urgent", -10), ("as usual", 0)):
        script.options(priority=priority).add_task_sync(note, name)
    script.close()

    afterword = Afterword(app, url, concurrency=1)
    with TestClient(app):
        afterword.options(priority=20).add_task_sync(note, "last").wait_sync(timeout=60)

    assert ["urgent", "as usual", "later", "last"] == started


def test_a_worker_serves_its_queues(app: FastAPI, url: str) -> None:
    """Jobs wait if no worker serves their queue. The default is the queue "default"."""
    afterword = Afterword(app, url, queues=["default"])
    with TestClient(app):
        mail = afterword.add_task_sync(send, "Ann")
        afterword.add_task_sync(note, "note").wait_sync(timeout=60)

    assert JobState.QUEUED is mail.refresh_sync().state
    assert ["note"] == started


def test_a_limit_for_each_customer(app: FastAPI, afterword: Afterword) -> None:
    """Jobs of different customers run at the same time: two of them wait for each other here."""
    with TestClient(app):
        jobs = [afterword.add_task_sync(import_orders, "ann") for _ in range(5)]
        jobs += [
            afterword.add_task_sync(import_orders, name, wait_for_another=True)
            for name in ("bob", "eve")
        ]
        for job in jobs:
            job.wait_sync(timeout=60)

    assert {"ann": 1, "bob": 1, "eve": 1} == most
    assert {JobState.COMPLETED} == {job.state for job in jobs}


def run_at(job: Job[None]) -> datetime:
    """Return the time before which a job does not start."""
    record = job.refresh_sync().record
    assert record is not None
    return record.run_at


def test_a_rate_limits_the_starts(app: FastAPI, afterword: Afterword) -> None:
    """Two start in any hour. The third is queued until the time at which it may start."""
    soon = datetime.now(UTC) + timedelta(minutes=50)
    with TestClient(app):
        jobs = [afterword.add_task_sync(call_an_expensive_service) for _ in range(3)]
        wait_until(lambda: run_at(jobs[2]) > soon, description="the third has got its time")
        states = [job.wait_sync(timeout=60).state for job in jobs[:2]]

    assert [JobState.COMPLETED, JobState.COMPLETED] == states
    assert JobState.QUEUED is jobs[2].state
