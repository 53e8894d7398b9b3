"""Limits and priorities of hand-overs, across all workers, on both stores."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery.signals import before_task_publish
from starlette.applications import Starlette
from starlette.testclient import TestClient

from afterword import Afterword, JobState, task
from afterword.model.records import Filter
from afterword.store.protocol import Store
from afterword.tasks.registry import _options
from tests.fleets import celery_site
from tests.fleets.celery_site import append, note, plain
from tests.fleets.memory import in_memory, published
from tests.fleets.site import PATIENCE
from tests.helpers import wait_until

NAME = "tests.fleets.celery_site:plain"
MANY = 12


@pytest.fixture(autouse=True)
def broker() -> Iterator[None]:
    with in_memory():
        yield


@contextmanager
def applications(url: str, count: int, **options: Any) -> Iterator[list[Afterword]]:
    """Run applications with a worker each, which share a store."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            app = Starlette()
            found.append(Afterword(app, url, tasks=[celery_site], **options))
            stack.enter_context(TestClient(app))
        yield found


@contextmanager
def at_each_publish(look: Any) -> Iterator[None]:
    """Call a function in the thread that sends, before each message."""

    def called(**kwargs: Any) -> None:
        look(kwargs["headers"]["id"])

    before_task_publish.connect(called, weak=False)
    try:
        yield
    finally:
        before_task_publish.disconnect(called)


def wait_for_all(store: Store, ids: Sequence[str]) -> None:
    wait_until(
        lambda: all(job.state is JobState.HANDED_OVER for job in store.get(ids)),
        description="all were handed over",
        timeout=PATIENCE,
    )


def test_no_more_are_sent_at_a_time_than_the_limit_says(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_options, NAME, None)
    task(plain, limit=1, key=lambda path: path)
    at_a_time: list[int] = []

    with applications(store_url, 2, concurrency=5) as (one, _):
        store = one.runtime.store

        def count(job_id: str) -> None:
            (job,) = store.get([job_id])
            running = store.find(Filter(state=JobState.RUNNING))
            at_a_time.append(sum(each.arguments == job.arguments for each in running))

        with at_each_publish(count):
            ids = [one.add_task_sync(plain, f"{n % 2}").id for n in range(MANY)]
            wait_for_all(store, ids)

    assert [1] * MANY == at_a_time
    assert sorted(ids) == sorted(published())


def test_a_hand_over_that_fails_gives_its_place_to_the_next(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next attempt waits for a slot again."""
    monkeypatch.setitem(_options, NAME, None)
    task(plain, limit=1)
    seen: list[str] = []
    found = plain._get_current_object()
    send = found.apply_async

    def fail_first(*args: Any, task_id: str, **options: Any) -> Any:
        seen.append(task_id)
        if len(seen) == 1:
            raise ValueError("of this call, so that the fleet is not left alone")
        return send(*args, task_id=task_id, **options)

    monkeypatch.setattr(found, "apply_async", fail_first)
    with applications(store_url, 1) as (one,):
        ids = [one.add_task_sync(plain, f"{n}").id for n in range(3)]
        wait_for_all(one.runtime.store, ids)

    assert sorted(ids) == sorted(published())
    assert seen.count(seen[0]) == 2
    assert seen[1] != seen[0]


def test_the_lowest_priority_is_sent_first(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order includes the fleets' tasks and our own."""
    monkeypatch.setitem(_options, NAME, None)
    task(plain, priority=7)
    path = tmp_path / "ours"
    path.touch()
    with applications(store_url, 1, worker=False) as (adding,):
        last = adding.add_task_sync(plain, "its own priority")
        third = adding.options(priority=5).add_task_sync(plain, "of the call")
        ours = adding.options(priority=1).add_task_sync(append, str(path), "ours")
        second = adding.add_task_sync(note, "x")
        first = adding.options(priority=-5).add_task_sync(note, "x")
        order: list[str] = []

        def look(job_id: str) -> None:
            if path.read_text():
                order.append("ours")
                path.write_text("")
            order.append(job_id)

        with at_each_publish(look), applications(store_url, 1, concurrency=1) as (working,):
            wait_for_all(working.runtime.store, [each.id for each in (first, second, third, last)])
            assert working.runtime.store.get([ours.id])[0].state is JobState.COMPLETED

    assert [first.id, second.id, "ours", third.id, last.id] == order
