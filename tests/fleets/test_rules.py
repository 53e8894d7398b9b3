"""Unique keys, limits, rates, priorities and schedules of hand-overs.

The fleet is Celery's, with its broker in memory; messages are read from its queue.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from afterword import Afterword, JobState, task
from afterword.client.named_call import checked
from afterword.errors import ArgumentError
from afterword.fleets import sender
from afterword.injection.needs import Injection
from afterword.starlette import BackgroundTasks
from afterword.tasks.registry import _options
from tests.fleets import celery_site
from tests.fleets.celery_site import append, note, plain
from tests.fleets.conftest import Ran
from tests.fleets.memory import headers, in_memory, published
from tests.fleets.site import PATIENCE, Fleet, post, serving_fleet
from tests.helpers import wait_until


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, url=store_url, tasks=[celery_site], concurrency=1) as site:
        yield site


@pytest.fixture(autouse=True)
def broker() -> Iterator[None]:
    with in_memory():
        yield


def test_a_unique_key_is_free_once_the_job_was_handed_over(site: Fleet) -> None:
    later = datetime(2090, 1, 1, tzinfo=UTC)

    def waiting(tasks: BackgroundTasks) -> Any:
        return tasks.options(unique="a", run_at=later).add_task(plain, "x")

    post(site, waiting)
    post(site, waiting)
    (third,) = post(site, lambda tasks: tasks.options(unique="b").add_task(plain, "x"))
    site.afterword.inquiries.wait_ended_sync([third], PATIENCE)  # published, and that is stored
    assert [third] == published()
    (fourth,) = post(site, lambda tasks: tasks.options(unique="b").add_task(plain, "x"))

    wait_until(lambda: published() == [fourth], description="the key again", timeout=PATIENCE)
    (waits,) = [job.id for job in site.jobs() if job.run_at == later]
    site.afterword.runtime.store.delete([waits])


def test_a_rate_holds_back_what_is_published(site: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_options, "tests.fleets.celery_site:plain", None)
    task(plain, rate="2/h", tags=["slow"])
    *_, last = [post(site, lambda tasks: tasks.add_task(plain, "x")) for _ in range(3)]

    def handed() -> int:
        return sum(job.state is JobState.HANDED_OVER for job in site.jobs())

    def held_back() -> bool:
        record = site.afterword.runtime.store.get(last)[0]
        return record.run_at.timestamp() - record.created_at.timestamp() > 1000

    wait_until(lambda: handed() == 2 and held_back(), description="two, and no third", timeout=60)
    assert len(published()) == 2
    assert all(job.tags == ("slow",) for job in site.jobs())
    site.afterword.runtime.store.delete(last)


class Gated:
    """An `apply_async` of a Celery task that waits for the test, and fails the first times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, task: Any, failures: int = 0) -> None:
        self.begun, self.gate = threading.Event(), threading.Event()
        self._failures = failures
        found = task._get_current_object()
        self._send = found.apply_async
        monkeypatch.setattr(found, "apply_async", self)
        monkeypatch.setattr(sender, "SEND_WITHIN", PATIENCE)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.begun.set()
        self.gate.wait(PATIENCE)
        self._failures -= 1
        if self._failures >= 0:
            raise ValueError("of this call, so that the fleet is not left alone")
        return self._send(*args, **options)


def test_a_job_that_is_cancelled_while_it_is_sent_is_told_as_it_was(
    site: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message cannot be taken back, and "cancelled" would mean that it does not run."""
    gated = Gated(monkeypatch, plain)
    (job_id,) = post(site, lambda tasks: tasks.add_task(plain, "x"))
    assert gated.begun.wait(PATIENCE)

    site.afterword.inquiries.cancel_sync(job_id, "not wanted")
    gated.gate.set()

    assert [JobState.HANDED_OVER] == site.states()
    assert [job_id] == published()


def test_a_job_that_is_cancelled_while_it_cannot_be_sent_is_cancelled(
    site: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = Gated(monkeypatch, plain, failures=1)
    (job_id,) = post(site, lambda tasks: tasks.add_task(plain, "x"))
    assert gated.begun.wait(PATIENCE)

    site.afterword.inquiries.cancel_sync(job_id, "not wanted")
    gated.gate.set()

    assert [JobState.CANCELLED] == site.states()
    assert [] == published()


def test_the_next_job_of_a_request_starts_when_this_one_was_handed_over(
    site: Fleet, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = Gated(monkeypatch, plain, failures=1)
    post(
        site,
        lambda tasks: tasks.add_task(append, ran.path, "first"),
        lambda tasks: tasks.add_task(plain, "x"),
        lambda tasks: tasks.add_task(append, ran.path, "last"),
    )
    assert gated.begun.wait(PATIENCE)
    assert ["first"] == ran.lines
    gated.gate.set()

    assert [JobState.COMPLETED, JobState.HANDED_OVER, JobState.COMPLETED] == site.states()
    assert ["first", "last"] == ran.lines
    _, handed, after = site.jobs()
    assert handed.finished_at is not None
    assert after.started_at is not None
    assert (2, True) == (handed.attempt, handed.finished_at <= after.started_at)


def test_what_follows_a_hand_over_that_is_cancelled_is_cancelled(
    site: Fleet, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = Gated(monkeypatch, plain, failures=1)
    middle, _ = post(
        site,
        lambda tasks: tasks.add_task(plain, "x"),
        lambda tasks: tasks.add_task(append, ran.path, "last"),
    )
    assert gated.begun.wait(PATIENCE)

    site.afterword.inquiries.cancel_sync(middle, "not wanted")
    gated.gate.set()

    assert [JobState.CANCELLED] * 2 == site.states()
    assert [] == ran.lines


def test_a_delay_passes_here_and_the_message_has_no_eta(site: Fleet) -> None:
    (job_id,) = post(site, lambda tasks: tasks.options(delay=0.2).add_task(plain, "x"))

    assert [JobState.HANDED_OVER] == site.states()
    assert [(job_id, None, None)] == headers("id", "eta", "expires")


def test_a_schedule_hands_over(tmp_path: Path) -> None:
    app = Starlette()
    afterword = Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}", tasks=[celery_site])
    afterword.every(seconds=1, name="often").add_task(note, "nowhere", text="scheduled")
    with TestClient(app):
        found: list[str] = []

        def is_published() -> bool:
            found.extend(published())
            return bool(found)

        wait_until(is_published, description="an occurrence", timeout=PATIENCE)

        def ended() -> bool:
            return afterword.runtime.store.get(found[:1])[0].state.final

        wait_until(ended, description="its outcome is stored", timeout=PATIENCE)
        (job,) = afterword.runtime.store.get(found[:1])

    assert (JobState.HANDED_OVER, ("schedule:often",)) == (job.state, job.tags)


def test_a_task_of_a_fleet_joins_a_transaction_of_postgresql(postgres_url: str) -> None:
    app = Starlette()
    afterword = Afterword(app, postgres_url, tasks=[celery_site])
    with TestClient(app), psycopg.connect(postgres_url) as connection:
        afterword.bind(connection).add_task(plain, "rolled back")
        connection.rollback()
        with suppress(ZeroDivisionError), connection.transaction():
            afterword.bind(connection).add_task(plain, "rolled back to a savepoint")
            1 / 0  # noqa: B018
        job = afterword.bind(connection).add_task(plain, "committed")
        connection.commit()

        wait_until(lambda: published() == [job.id], description="one job", timeout=PATIENCE)
    assert [] == published()


def test_a_task_of_a_fleet_joins_the_users_transaction(tmp_path: Path) -> None:
    app, path = Starlette(), tmp_path / "app.db"
    afterword = Afterword(app, f"sqlite+pysqlite:///{path}", tasks=[celery_site])
    with TestClient(app), closing(sqlite3.connect(path)) as connection:
        afterword.bind(connection).add_task(plain, "rolled back")
        connection.rollback()
        job = afterword.bind(connection).add_task(plain, "committed")
        connection.commit()

        wait_until(lambda: published() == [job.id], description="one job", timeout=PATIENCE)
    assert [] == published()


def test_a_job_by_name_is_checked_as_the_application_would(site: Fleet) -> None:
    """`afterword run` and the dashboard add such jobs, from text."""
    name = "tests.fleets.celery_site:note"
    job = checked(name, '{"path": "x", "text": "y"}', Injection())
    assert (name, "default") == (job.task, job.queue)
    with pytest.raises(ArgumentError, match="unknown"):
        checked(name, '{"unknown": 1}', Injection())
