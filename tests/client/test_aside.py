"""The store's thread does not wait for locks of users' transactions, on a real PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from afterword.client import aside
from afterword.client.group_commit import GroupCommit
from afterword.client.operation import Operation, adding, calling, settling
from afterword.errors import StoreLocked, StoreUnavailable
from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.postgres import PostgresStore
from afterword.store.protocol import Added, Settlement, Store, held_claim
from tests.helpers import wait_until
from tests.worker.test_ends import Settled

WORKER = "0123456789abcdef"


@pytest.fixture
def group(postgres_url: str) -> Iterator[GroupCommit]:
    group = GroupCommit(PostgresStore(postgres_url))
    group.start()
    group.run_blocking(calling(lambda store: store.join(WORKER, 3600.0)))
    yield group
    group.stop()


def a_job(key: str | None = None, **changes: object) -> NewJob:
    return NewJob(id=new_id(), task="app:send", unique_key=key, **changes)  # type: ignore[arg-type]


class Undone(Exception):
    """An error that rolls the transaction back."""


@contextmanager
def adding_in_a_transaction(url: str, *jobs: NewJob, undo: bool = False) -> Iterator[None]:
    """Keep a user's transaction open that has added these jobs."""
    store = PostgresStore(url)
    store.open()
    gate, added = threading.Event(), threading.Event()

    def add() -> None:
        with suppress(Undone), store.transaction():
            store.add(jobs)
            added.set()
            gate.wait(30)
            if undo:
                raise Undone

    thread = threading.Thread(target=add)
    thread.start()
    assert added.wait(30)
    try:
        yield
    finally:
        gate.set()
        thread.join()
        store.close()


@contextmanager
def the_table_locked(url: str) -> Iterator[None]:
    """Keep the table locked, as a rebuild does."""
    with psycopg.connect(url) as connection:
        connection.execute(b"LOCK TABLE afterword.jobs IN ACCESS EXCLUSIVE MODE")
        yield


class Asked:
    """Operations that are submitted together, and their answers."""

    def __init__(self, group: GroupCommit, *operations: Operation) -> None:
        self.operations = operations
        self._left = len(operations)
        self._lock = threading.Lock()
        gate, entered = threading.Event(), threading.Event()

        def wait(_: Store) -> None:
            entered.set()
            gate.wait(30)

        group.submit(calling(wait))
        assert entered.wait(30)
        for each in operations:
            each.done = self._count
            group.submit(each)
        gate.set()

    def _count(self, result: object, error: BaseException | None) -> None:
        with self._lock:
            self._left -= 1

    @property
    def left(self) -> int:
        """Count the operations without an answer."""
        return self._left

    def wait(self, left: int = 0) -> None:
        """Wait until only this number of operations has no answer."""
        wait_until(lambda: self._left == left, description=f"{left} are left without an answer")


def is_aside(group: GroupCommit, operation: Operation) -> bool:
    return operation in group._aside.kept


def test_who_meets_a_lock_is_set_aside_and_the_others_go_on(
    group: GroupCommit, postgres_url: str
) -> None:
    taken, job = a_job("key"), a_job("key")
    locked = adding([job], None)
    with adding_in_a_transaction(postgres_url, taken):
        asked = Asked(group, *(adding([a_job()], None) for _ in range(20)), locked)
        asked.wait(left=1)
        later = Asked(group, adding([a_job()], None))
        later.wait()
        left = asked.left
    asked.wait()

    assert 1 == left
    assert [Added(taken.id, False)] == locked.result
    assert 22 == group.store.count()[JobState.QUEUED]


def test_it_takes_the_key_if_the_transaction_is_undone(
    group: GroupCommit, postgres_url: str
) -> None:
    job = a_job("key")
    locked = adding([job], None)
    with adding_in_a_transaction(postgres_url, a_job("key"), undo=True):
        asked = Asked(group, locked)
        wait_until(lambda: is_aside(group, locked), description="it is set aside")
    asked.wait()

    assert [Added(job.id, True)] == locked.result


def test_of_one_key_only_the_first_is_tried(group: GroupCommit, postgres_url: str) -> None:
    """A client that repeats its request does not slow down the others."""
    first, *others = [adding([a_job("key")], None) for _ in range(10)]
    with adding_in_a_transaction(postgres_url, taken := a_job("key")):
        leader = Asked(group, first)
        wait_until(lambda: is_aside(group, first), description="the first is set aside")
        followers = Asked(group, *others)
        Asked(group, adding([a_job()], None)).wait()
        aside_too = [each for each in others if is_aside(group, each)]
    leader.wait()
    followers.wait()

    assert [] == aside_too
    assert [[Added(taken.id, False)]] * 10 == [each.result for each in (first, *others)]


def test_who_gives_up_waiting_has_stored_nothing(group: GroupCommit, postgres_url: str) -> None:
    with adding_in_a_transaction(postgres_url, a_job("key")):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            group.run_blocking(adding([a_job("key")], None), timeout=0.3)
        took = time.monotonic() - begun
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            group.run_blocking(adding([a_job("key"), a_job()], None), timeout=0.3)
    group.run_blocking(adding([a_job()], None))

    assert took < 30
    assert 2 == group.store.count()[JobState.QUEUED]


def test_who_has_set_no_time_gets_an_answer_all_the_same(
    group: GroupCommit, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "GIVE_UP_AFTER", 0.2)
    with (
        adding_in_a_transaction(postgres_url, a_job("key")),
        pytest.raises(StoreLocked, match="holds a lock"),
    ):
        group.run_blocking(adding([a_job("key")], None))


def test_an_outcome_that_meets_a_lock_waits_alone(
    group: GroupCommit, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's long transaction has added a job behind one that runs here."""
    monkeypatch.setattr(aside, "GIVE_UP_AFTER", 3600.0)
    jobs = [a_job(held=True) for _ in range(5)]
    group.run_blocking(adding(jobs, WORKER))
    settled = Settled(group)
    with adding_in_a_transaction(postgres_url, follower := a_job(after=jobs[0].id)):
        for job in jobs:
            settled.add(held_claim(job, WORKER, 1.0))
        wait_until(lambda: len(settled.answers) == 4, description="the others are on record")
        during = {each.state for each in group.store.get([jobs[0].id])}
        locked = Settlement(held_claim(jobs[0], WORKER, 1.0), Completed())
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            group.run_blocking(settling([locked]), timeout=0.2)
    wait_until(lambda: len(settled.answers) == 5, description="it is on record")

    assert {JobState.RUNNING} == during
    assert {(job.id, True, None) for job in jobs} == set(settled.answers)
    (found,) = group.store.get([follower.id])
    assert found.after is None


def test_when_all_meet_a_lock_all_are_answered_afterwards(
    group: GroupCommit, postgres_url: str
) -> None:
    asked = [adding([a_job()], None) for _ in range(50)]
    with the_table_locked(postgres_url):
        all_of_them = Asked(group, *asked)
        wait_until(lambda: is_aside(group, asked[-1]), description="they are set aside")
        left = all_of_them.left
    all_of_them.wait()

    assert 50 == left
    assert 50 == group.store.count()[JobState.QUEUED]


def test_who_waits_for_a_lock_is_answered_by_a_stop(postgres_url: str) -> None:
    group = GroupCommit(PostgresStore(postgres_url))
    group.start()
    first, follower = adding([a_job("key")], None), adding([a_job("key")], None)
    with adding_in_a_transaction(postgres_url, a_job("key")):
        leading = Asked(group, first)
        wait_until(lambda: is_aside(group, first), description="it is set aside")
        following = Asked(group, follower)
        group.stop()

        leading.wait()
        following.wait()
    assert isinstance(first.error, StoreUnavailable)
    assert isinstance(follower.error, StoreUnavailable)
