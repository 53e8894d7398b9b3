"""Counters of ended jobs: late commits, several processes, clock changes, and costs."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import psycopg
import pytest

from afterword.model.clock import Clock
from afterword.model.counters import HOUR, MINUTE, TEN_MINUTES
from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store import counting
from afterword.store.opening import open_store
from afterword.store.postgres import session
from afterword.store.protocol import Settlement, Store
from afterword.store.sqlite import SQLiteStore
from afterword.store.sqlite.counting import _count_ends
from afterword.store.sqlite.writer import sql

LONG = 3600.0
MANY = 10_000


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    store.open()
    store.join("ann", LONG)
    yield store
    store.close()


def execute(store_url: str, statement: str) -> None:
    if store_url.startswith("sqlite"):
        connection = apsw.Connection(store_url.partition(":///")[2])
        connection.execute(statement.replace("afterword.", "afterword_"))
        connection.close()
    else:
        with psycopg.connect(store_url, autocommit=True) as server:
            server.execute(statement.encode())


def ended(store: Store) -> str:
    """Add a job that ends now; returns it."""
    store.add([job := NewJob(id=new_id(), task="app:send")])
    (claim,) = store.claim("ann", ["default"], 1)
    store.settle([Settlement(claim, Completed(), seconds=0.5)])
    return job.id


def set_end(store_url: str, job_id: str, at: float) -> None:
    """Change the time at which a job has ended."""
    finished = f"to_timestamp({at})" if store_url.startswith("postgres") else str(at)
    update = f"UPDATE afterword.history SET finished_at = {finished} WHERE id = '{job_id}'"
    execute(store_url, update)


def counted(store: Store, seconds: int = MINUTE) -> list[int]:
    found = store.counters(store.now() - 24 * HOUR, seconds)
    return [each.jobs for each in found if each.counted]


def test_a_job_whose_end_is_committed_late_is_counted(store: Store, store_url: str) -> None:
    """Its minute was counted before, and is counted again when it is `LATE` seconds old."""
    over = counting._start(store.now() - counting.MARGIN, MINUTE)
    set_end(store_url, ended(store), over - 150)
    store.roll_up(MANY)
    execute(store_url, f"UPDATE afterword.counted SET until = {over - 120}")
    set_end(store_url, ended(store), over - 151)  # committed only now
    before = counted(store)
    set_end(store_url, ended(store), over - 90)
    store.roll_up(MANY)

    assert [1] == before
    assert 3 == sum(counted(store))
    assert 3 == sum(counted(store, TEN_MINUTES))
    assert 3 == sum(counted(store, HOUR))


def test_of_two_processes_one_counts(store: Store, store_url: str) -> None:
    other = open_store(store_url)
    other.open()
    set_end(store_url, ended(store), store.now() - 600)
    steps = [store.roll_up(MANY) > 0, other.roll_up(MANY) > 0]
    other.close()

    assert [True, False] == steps
    assert [1] == counted(store)


class SetClock(Clock):
    """A clock that can be set."""

    at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


def test_a_clock_that_was_set_back_does_not_stop_the_counting(tmp_path: Path) -> None:
    clock = SetClock()
    store = SQLiteStore(tmp_path / "jobs.db", clock)
    store.open()
    store.join("ann", 10 * 24 * LONG)
    ended(store)
    clock.at += 120
    store.roll_up(MANY)
    clock.at -= 24 * LONG
    store.roll_up(MANY)
    ended(store)
    clock.at += 120
    store.roll_up(MANY)
    found = [each.jobs for each in store.counters(0) if each.counted]
    store.close()

    assert [1, 1] == found


def test_old_counters_are_deleted(tmp_path: Path) -> None:
    clock = SetClock()
    store = SQLiteStore(tmp_path / "jobs.db", clock)
    store.open()
    store.join("ann", 1000 * 24 * LONG)
    ended(store)
    clock.at += 3 * 24 * HOUR
    ended(store)
    clock.at += 120
    store.roll_up(MANY)
    store.roll_up(MANY)
    lengths = {seconds: len(store.counters(0, seconds)) for seconds in (MINUTE, TEN_MINUTES)}
    store.close()

    assert {MINUTE: 1, TEN_MINUTES: 1} == lengths  # the first one was more than a day ago


def test_counting_reads_what_ended_and_no_more_on_sqlite(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "jobs.db")
    store.open()
    values = {"first": 0, "seconds": 60, "since": 0, "until": 1, "limit": 10}
    plans = []
    for text in (sql("to_count"), _count_ends(), sql("counters")):
        rows = store._writer.connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        plans.append("\n".join(str(row[3]) for row in rows))
    store.close()

    assert "INDEX afterword_history_finished (finished_at>?)" in plans[0]
    assert "INDEX afterword_history_finished (finished_at>? AND finished_at<?)" in plans[1]
    assert "PRIMARY KEY (seconds=? AND starts_at>? AND starts_at<?)" in plans[2]


def test_counting_reads_what_ended_and_no_more_on_postgresql(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.open()
    values = {"first": 0, "seconds": 60, "since": 0, "until": 1, "limit": 10, "bounds": [1.0]}
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plans = [
            "\n".join(str(row[0]) for row in connection.execute(f"EXPLAIN {text}", values))
            for text in map(session.sql, ("to_count", "count_ends", "counters"))
        ]
    store.close()

    assert "Index Only Scan using history_finished" in plans[0]
    assert "history_finished" in plans[1]
    assert "counters_pkey" in plans[2]
