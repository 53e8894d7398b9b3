"""Unique keys, limits, rates, priorities and schedules hold for hand-overs, too.

The fleet is Celery's, with its broker in memory: what was published is read from its queue.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from afterword import Afterword, JobState, task
from afterword.client.named_call import checked
from afterword.errors import ArgumentError
from afterword.injection.needs import Injection
from afterword.starlette import BackgroundTasks
from afterword.tasks.registry import _options
from tests.fleets import celery_site
from tests.fleets.celery_site import note, plain
from tests.fleets.memory import in_memory, published
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

    (first,), (second,) = post(site, waiting), post(site, waiting)
    (third,) = post(site, lambda tasks: tasks.options(unique="b").add_task(plain, "x"))
    wait_until(lambda: published() == [third], description="the other key", timeout=PATIENCE)
    (fourth,) = post(site, lambda tasks: tasks.options(unique="b").add_task(plain, "x"))

    wait_until(lambda: published() == [fourth], description="the key again", timeout=PATIENCE)
    assert first == second
    site.afterword._store.delete([first])


def test_a_rate_holds_back_what_is_published(site: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_options, "tests.fleets.celery_site:plain", None)
    task(plain, rate="2/h", tags=["slow"])
    *_, last = [post(site, lambda tasks: tasks.add_task(plain, "x")) for _ in range(3)]

    def handed() -> int:
        return sum(job.state is JobState.HANDED_OVER for job in site.jobs())

    def held_back() -> bool:
        record = site.afterword._store.get(last)[0]
        return record.run_at.timestamp() - record.created_at.timestamp() > 1000

    wait_until(lambda: handed() == 2 and held_back(), description="two, and no third", timeout=60)
    assert len(published()) == 2
    assert all(job.tags == ("slow",) for job in site.jobs())
    site.afterword._store.delete(last)


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
            return afterword._store.get(found[:1])[0].state.final

        wait_until(ended, description="its outcome is stored", timeout=PATIENCE)
        (job,) = afterword._store.get(found[:1])

    assert (JobState.HANDED_OVER, ("schedule:often",)) == (job.state, job.tags)


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
    """As `afterword run` and the dashboard make it, from text."""
    name = "tests.fleets.celery_site:note"
    job = checked(name, '{"path": "x", "text": "y"}', Injection())
    assert (name, "default") == (job.task, job.queue)
    with pytest.raises(ArgumentError, match="unknown"):
        checked(name, '{"unknown": 1}', Injection())
