"""The contract of counters: jobs that ended, by minute, task, queue and state."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from afterword.model.clock import as_datetime
from afterword.model.counters import HOUR, MINUTE, TEN_MINUTES, CounterRecord
from afterword.model.job import JobRecord, JobState, new_id
from afterword.model.outcome import Completed
from afterword.store.protocol import Store
from afterword.testing.kit import LONG, a_job, end, expect, record, running

MANY = 10_000  # minutes


def _ended(store: Store, seconds_ago: float, **changes: object) -> JobRecord:
    """Add a job that ended then, after it had waited for 2 s and run for 10 s."""
    store.add([job := a_job()])
    finished_at = as_datetime(store.now() - seconds_ago)
    started_at = finished_at - timedelta(seconds=10)
    told: dict[str, Any] = {
        "id": new_id(),
        "state": JobState.COMPLETED,
        "attempt": 1,
        "run_at": started_at - timedelta(seconds=2),
        "started_at": started_at,
        "finished_at": finished_at,
    }
    ended = replace(record(store, job.id), **{**told, **changes})
    store.delete([job.id])
    store.restore([ended])
    return ended


def _sums(counters: Iterable[CounterRecord]) -> dict[tuple[str, str, str], int]:
    sums: dict[tuple[str, str, str], int] = {}
    for each in counters:
        key = (each.task, each.queue, each.state.value)
        sums[key] = sums.get(key, 0) + each.jobs
    return sums


def check_ended_jobs_are_counted(store: Store) -> None:
    """Jobs that ended are counted by task, queue and state, and each of them once."""
    since = store.now() - 2 * HOUR
    expect([], list(store.counters(since)), "counters of a new store")
    expect(0, store.roll_up(MANY), "minutes of a new store")
    for _ in range(3):
        _ended(store, 700)
    _ended(store, 700, queue="mail")
    _ended(store, 600, task="app:other", state=JobState.FAILED, error="no")
    expected = {
        ("app:send", "default", "completed"): 3,
        ("app:send", "mail", "completed"): 1,
        ("app:other", "default", "failed"): 1,
    }
    expect(expected, _sums(store.counters(since)), "jobs before they are counted")
    expect(True, store.roll_up(MANY) > 0, "minutes were counted")
    expect(0, store.roll_up(MANY), "minutes were counted again")
    for seconds in (MINUTE, TEN_MINUTES, HOUR):
        counters = store.counters(since, seconds)
        expect(expected, _sums(counters), f"jobs in periods of {seconds} s")
        expect({True}, {each.counted for each in counters}, "all of them are counted")
        expect({seconds}, {each.seconds for each in counters}, "the length")


def check_counters_know_when_and_how_long(store: Store) -> None:
    """A counter has the start of its period, and how long its jobs waited and ran."""
    ended = _ended(store, 700)
    store.roll_up(MANY)
    for seconds in (MINUTE, TEN_MINUTES, HOUR):
        (counter,) = store.counters(store.now() - 2 * HOUR, seconds)
        finished = ended.finished_at.timestamp() if ended.finished_at else 0.0
        expect(finished // seconds * seconds, counter.started_at.timestamp(), "the start")
        waited, ran = counter.waited.quantile(0.5) or 0, counter.ran.quantile(0.5) or 0
        expect((True, True), (1 < waited < 4.1, 8 < ran < 16.5), f"waited {waited}, ran {ran}")


def check_jobs_that_ended_just_now_are_shown(store: Store) -> None:
    """Jobs that ended just now are shown, though they are not counted yet."""
    end(store, running(store), Completed())
    store.roll_up(MANY)
    since = store.now() - LONG
    (latest,) = store.counters(since)
    expect((1, False), (latest.jobs, latest.counted), "jobs of this minute")
    expect([], list(store.counters(store.now() + LONG)), "counters of the next hour")


def check_a_job_cancelled_while_queued_is_counted(store: Store) -> None:
    """A job that never started is counted, without a time that it waited or ran."""
    store.add([job := a_job()])
    store.cancel([job.id], "by a person")
    (latest,) = store.counters(store.now() - LONG)
    found = (latest.state, latest.jobs, latest.waited.total, latest.ran.total)
    expect((JobState.CANCELLED, 1, 0, 0), found, "counter")


def check_counting_takes_small_steps(store: Store) -> None:
    """A step counts no more minutes than its limit; minutes in which no job ended cost nothing."""
    since = store.now() - 24 * HOUR
    for ago in (20 * HOUR, 10 * HOUR, 9 * HOUR):
        _ended(store, ago)
    for counted in (1, 2, 3):
        expect(True, store.roll_up(1) > 0, "minutes")
        found = store.counters(since)
        expect(counted, sum(each.jobs for each in found if each.counted), "jobs that are counted")
    expect(0, store.roll_up(1), "minutes left")


def check_purged_jobs_stay_counted(store: Store) -> None:
    """A job that is deleted or purged after it was counted stays in the counters."""
    ended = _ended(store, 600)
    _ended(store, 600)
    store.roll_up(MANY)
    store.delete([ended.id])
    store.purge(0.0, MANY)
    store.roll_up(MANY)
    expect([2], [each.jobs for each in store.counters(store.now() - LONG)], "jobs")
