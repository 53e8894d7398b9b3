"""Clocks: only the store's counts, and a process with a wrong clock changes nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterword.model.clock import Clock
from afterword.model.job import Delay, JobState
from afterword.model.outcome import Completed, RetryAt
from afterword.store.postgres import PostgresStore
from afterword.store.protocol import Claim, Putback, Settlement, Store
from afterword.store.sqlite import SQLiteStore
from afterword.testing.kit import a_job, expect_between, record

HOUR = 3600.0
DAY = 24 * HOUR
SKEWS = {"8-days-fast": 8 * DAY, "8-days-slow": -8 * DAY, "1970": -time.time() + HOUR}


class Wrong(Clock):
    """A clock that is wrong by some seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return time.time() + self.seconds


@pytest.fixture(params=SKEWS.values(), ids=list(SKEWS))
def store(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[PostgresStore]:
    """A store in PostgreSQL, on a host whose clock is wrong."""
    store = PostgresStore(postgres_url, clock=Wrong(request.param))
    store.open()
    store.join("ann", HOUR)
    yield store
    store.close()


def claimed(store: Store) -> Claim:
    """Add a job and claim it; returns the claim."""
    store.add([a_job()])
    (claim,) = store.claim("ann", ["default"], 10)
    return claim


def test_a_wrong_host_deletes_no_history(store: PostgresStore) -> None:
    claim = claimed(store)
    store.settle([Settlement(claim, Completed())])

    assert 0 == store.purge(7 * DAY, 10)
    assert 0 == store.purge(60.0, 10)
    assert 1 == store.purge(0.0, 10)


def test_a_wrong_host_waits_as_long_as_it_should(store: PostgresStore) -> None:
    again, back = claimed(store), claimed(store)
    began = store.now()
    store.settle([Settlement(again, RetryAt(HOUR, "error"))])
    store.release([Putback(back, HOUR, "why")])
    store.add([later := a_job(run_at=Delay(HOUR))])

    for job_id in (again.id, back.id, later.id):
        expect_between(began + HOUR, record(store, job_id).run_at, store.now() + HOUR, "run_at")


def test_a_wrong_host_says_when_an_attempt_started(store: PostgresStore) -> None:
    claim = claimed(store)
    began = store.now()
    store.settle([Settlement(claim, Completed(), seconds=60.0)])
    found = record(store, claim.id)

    expect_between(began - 60, found.started_at, store.now() - 60, "started_at")
    expect_between(began, found.finished_at, store.now(), "finished_at")


# ---------------------------------------------------------------------- SQLite


@pytest.fixture
def clock() -> Wrong:
    """The clock of a machine, which can be set."""
    return Wrong()


@pytest.fixture
def file(tmp_path: Path, clock: Wrong) -> Iterator[SQLiteStore]:
    """A store in a file."""
    store = SQLiteStore(tmp_path / "jobs.db", clock)
    store.open()
    store.join("ann", HOUR)
    yield store
    store.close()


def test_a_clock_that_is_set_ahead_deletes_nothing(file: SQLiteStore, clock: Wrong) -> None:
    """It may be set back again, or the job may have ended meanwhile."""
    before = claimed(file)
    file.settle([Settlement(before, Completed())])
    clock.seconds = 8 * DAY
    ahead = claimed(file)
    file.settle([Settlement(ahead, Completed())])

    assert 0 == file.purge(7 * DAY, 10)
    clock.seconds = 0.0
    assert 0 == file.purge(7 * DAY, 10)
    assert {JobState.COMPLETED} == {each.state for each in file.get([before.id, ahead.id])}


def test_a_clock_that_was_behind_and_is_set_right_deletes_nothing(tmp_path: Path) -> None:
    """A machine without a battery starts in 1970, and gets the time from the network."""
    clock = Wrong(-time.time() + HOUR)
    file = SQLiteStore(tmp_path / "jobs.db", clock)
    file.open()
    file.join("ann", HOUR)
    claim = claimed(file)
    file.settle([Settlement(claim, Completed())])
    clock.seconds = 0.0

    assert 0 == file.purge(7 * DAY, 10)
    file.close()


def test_the_age_of_history_is_taken_under_the_lock(
    file: SQLiteStore, clock: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a clock were set back during the wait for the lock, it would delete later ends."""
    locked: list[bool] = []
    now = clock.now

    def noted() -> float:
        locked.append(file._writer._in_transaction)
        return now()

    monkeypatch.setattr(clock, "now", noted)
    file.purge(7 * DAY, 10)

    assert {True} == set(locked)


def test_what_is_old_by_both_readings_is_deleted(file: SQLiteStore, clock: Wrong) -> None:
    clock.seconds = -8 * DAY
    old = claimed(file)
    file.settle([Settlement(old, Completed())])
    clock.seconds = 0.0

    assert 1 == file.purge(7 * DAY, 10)
