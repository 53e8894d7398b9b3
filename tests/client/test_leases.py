"""A process's membership: renewed, lost, given up, and joined again."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from afterword.client import leases as module
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases, new_worker_id
from afterword.client.operation import calling
from afterword.model.clock import Clock
from afterword.model.job import NewJob, new_id
from afterword.store.sqlite import SQLiteStore, drivers
from tests.helpers import wait_until

LEASE = 600.0  # seconds, of a clock that only the tests move so far


class MovableClock(Clock):
    """A clock that a test moves forward."""

    moved = 0.0

    def now(self) -> float:
        return super().now() + self.moved

    def monotonic(self) -> float:
        return super().monotonic() + self.moved


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed twenty times a second."""
    monkeypatch.setattr(module, "RENEWALS", LEASE * 20)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(drivers, "BUSY_TIMEOUT", 0.02)
    return tmp_path / "jobs.db"


@pytest.fixture
def group(path: Path, clock: MovableClock) -> Iterator[GroupCommit]:
    group = GroupCommit(SQLiteStore(path, clock))
    group.start()
    yield group
    group.stop()


@pytest.fixture
def other(path: Path, clock: MovableClock, group: GroupCommit) -> Iterator[SQLiteStore]:
    """A second store on the same file, as of another process."""
    store = SQLiteStore(path, clock)
    store.open()
    yield store
    store.close()


def started(group: GroupCommit, clock: Clock | None = None) -> Leases:
    leases = Leases(group, LEASE, clock)
    leases.start()
    return leases


def a_held_job(group: GroupCommit, leases: Leases) -> NewJob:
    job = NewJob(id=new_id(), task="app:send", held=True)
    group.run_blocking(calling(lambda store: store.add([job], leases.worker)))
    return job


def recovered(store: SQLiteStore) -> list[str]:
    return [each.id for each in store.recover(100, LEASE)]


def test_a_renewed_lease_keeps_its_jobs(
    group: GroupCommit, other: SQLiteStore, clock: MovableClock
) -> None:
    """The test's time is longer than a lease."""
    leases = started(group, clock)
    worker = leases.worker
    a_held_job(group, leases)
    taken: list[str] = []
    for _ in range(3):
        clock.moved += LEASE - 100
        taken += recovered(other)
        wait_renewed(leases)

    assert [] == taken
    assert leases.valid
    assert worker == leases.worker


def test_a_lease_is_valid_once_it_has_been_joined(group: GroupCommit) -> None:
    leases = Leases(group, LEASE)
    before = leases.valid
    leases.start()

    assert not before
    assert leases.valid


def test_a_lease_that_was_not_renewed_in_time_is_not_valid(
    group: GroupCommit, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWALS", 1)
    leases = started(group, clock)
    clock.moved = LEASE - 100
    still = leases.valid
    clock.moved = LEASE

    assert still
    assert not leases.valid


def test_a_lost_lease_is_told_and_joined_again(group: GroupCommit, other: SQLiteStore) -> None:
    leases, lost = started(group), list[str]()
    leases.on_lost = lost.append
    first = leases.worker
    job = a_held_job(group, leases)
    other.leave(first)
    wait_until(lambda: leases.worker != first, description="a new id")
    wait_until(lambda: leases.valid, description="a new lease")

    assert [first] == lost
    assert [job.id] == recovered(other)
    assert other.renew(leases.worker, LEASE)


def test_without_the_store_a_lease_is_given_up_before_it_ends(
    path: Path, group: GroupCommit, clock: MovableClock
) -> None:
    leases, lost = started(group, clock), list[str]()
    leases.on_lost = lost.append
    first = leases.worker
    blocker = writing(path)
    clock.moved = LEASE / 2 - 100
    beats = leases.beats
    wait_until(lambda: leases.beats > beats + 2, description="renewals have failed")
    early = list(lost)
    clock.moved = LEASE / 2 + 100
    wait_until(lambda: lost, description="the lease is given up")
    valid_without_store = leases.valid
    blocker.close()
    wait_until(lambda: leases.valid, description="a new lease, now that the store is back")

    assert [[], [first]] == [early, lost]
    assert not valid_without_store
    assert leases.worker != first


def test_a_store_that_is_away_for_a_moment_costs_nothing(
    path: Path, group: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    leases, lost = started(group), list[str]()
    leases.on_lost = lost.append
    worker, outside = leases.worker, writing(path)
    wait_until(lambda: "step_failed" in caplog.text, description="a renewal has failed")
    outside.execute("COMMIT")
    ends = expiry(outside, worker)
    wait_until(lambda: expiry(outside, worker) != ends, description="a renewal after that")
    outside.close()

    assert [] == lost
    assert leases.valid


def wait_renewed(leases: Leases) -> None:
    """Wait until the lease has been renewed once more."""
    beats = leases.beats
    wait_until(lambda: leases.beats > beats + 1, description="one begins, and another one after")


def writing(path: Path) -> apsw.Connection:
    """Keep another process's connection in a write transaction."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def expiry(connection: apsw.Connection, worker: str) -> object:
    query = "SELECT expires_at FROM afterword_workers WHERE id = ?"
    return connection.execute(query, (worker,)).fetchall()


def test_stop_leaves(group: GroupCommit, other: SQLiteStore) -> None:
    leases = started(group)
    job = a_held_job(group, leases)
    before = recovered(other)
    leases.stop()

    assert [] == before
    assert [job.id] == recovered(other)


def test_each_start_has_an_id_of_its_own(group: GroupCommit) -> None:
    leases = started(group)
    first = leases.worker
    leases.stop()
    group.stop()
    group.start()
    leases.start()

    assert first != leases.worker


def test_worker_ids_are_random() -> None:
    assert 1000 == len({new_worker_id() for _ in range(1000)})
