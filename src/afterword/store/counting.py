"""Counters of ended jobs: from the history into a small table, a minute at a time.

A minute is counted once it is over, by the process that moves a cursor (compare-and-set). Its ends
may be committed later: in PostgreSQL the time of an end is the start of its transaction, and a
transaction of the application may stay open. So each minute is counted twice, the second time when
it is `LATE` seconds old, and the larger numbers are kept. The counters do not include ends that are
committed even later, nor jobs that were imported, or were deleted, purged or retried within the
first seconds.

Longer periods are the sums of their minutes.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from afterword.model.clock import as_datetime
from afterword.model.counters import (
    BOUNDS,
    HOUR,
    KEPT,
    MINUTE,
    TEN_MINUTES,
    CounterRecord,
    Histogram,
    added_up,
)
from afterword.model.job import JobState
from afterword.store.parts import Row, Values

MARGIN = 5.0  # seconds from the end of a minute until it is counted
LATE = 300  # seconds until it is counted for the last time
FIRST = 24 * HOUR  # seconds of the history that are counted when nothing was before
LATEST = 10_000  # jobs that are not in the counters yet, and are read one by one

_STATES = {state.value: state for state in JobState}  # quicker than `JobState(...)`
Group = tuple[int, str, str, str]  # the start of a period, the task, the queue, the state


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes to count, in seconds since 1970, and how to move the cursor."""

    seen: int | None  # where the cursor is
    since: int
    until: int  # where it is to be


def next_span(seen: int | None, first: float | None, now: float, limit: int) -> Span | None:
    """Return the minutes to count next; None: no job ended in a minute that is over.

    Args:
        seen: the cursor.
        first: when the first job ended that the cursor has not passed.
        limit: how many minutes at most, beside those that are counted again.

    >>> next_span(600, 725.0, 1000.0, limit=1)
    Span(seen=600, since=300, until=780)
    """
    over = _start(now - MARGIN, MINUTE)
    if seen is not None and seen > over:  # the clock was set back
        return Span(seen, over - LATE, over)
    if first is None or first >= over:
        return None
    start = over - FIRST if seen is None else seen
    return Span(seen, start - LATE, min(_start(first, MINUTE) + limit * MINUTE, over))


def _start(at: float, seconds: int) -> int:
    """Return the start of the period of this length in which this moment is."""
    return int(at // seconds) * seconds


# ---------------------------------------------------------------------- rows


def count_values(since: float, until: float, seconds: int, limit: int | None) -> dict[str, object]:
    """Return the values of count_ends.sql."""
    return {"since": since, "until": until, "seconds": seconds, "limit": limit}


def counter_rows(rows: Iterable[Row], seconds: int) -> Sequence[Values]:
    """Return the values of put_counters.sql of the rows of count_ends.sql."""
    counted = _grouped(rows)
    return [_values(seconds, group, *numbers) for group, numbers in counted.items()]


def _grouped(rows: Iterable[Row]) -> Mapping[Group, tuple[int, Histogram, Histogram]]:
    """Return jobs, waits and runs of the rows of count_ends.sql, which have a bucket of each."""
    found: dict[Group, tuple[list[int], dict[int, int], dict[int, int]]] = {}
    for start, task, queue, state, waited, ran, jobs in rows:
        total, waits, runs = found.setdefault((int(start), task, queue, state), ([], {}, {}))
        total.append(jobs)
        for buckets, bucket in ((waits, waited), (runs, ran)):
            if bucket is not None:
                buckets[bucket] = buckets.get(bucket, 0) + jobs
    return {
        group: (sum(total), Histogram(waits), Histogram(runs))
        for group, (total, waits, runs) in found.items()
    }


def _values(
    seconds: int, group: Group, jobs: int, waited: Histogram, ran: Histogram
) -> dict[str, object]:
    start, task, queue, state = group
    return {
        "seconds": seconds,
        "starts_at": start,
        "task": task,
        "queue": queue,
        "state": state,
        "jobs": jobs,
        "waited": waited.text(),
        "ran": ran.text(),
    }


def longer_periods(
    minutes: Sequence[Values], counters: Callable[[int, int], Sequence[Row]]
) -> Iterable[Values]:
    """Return the rows of the longer periods in which these minutes are.

    Args:
        counters: returns the rows of counters.sql of the minutes from a time until another one.
    """
    starts = [int(row["starts_at"]) for row in minutes]
    if not starts:
        return
    first, last = _start(min(starts), HOUR), _start(max(starts), HOUR) + HOUR
    rows = counters(first, last)
    for seconds in (TEN_MINUTES, HOUR):
        wanted = {_start(start, seconds) for start in starts}
        yield from _summed(rows, seconds, wanted)


def _summed(rows: Iterable[Row], seconds: int, wanted: set[int]) -> Iterable[Values]:
    found: dict[Group, list[Row]] = {}
    for row in rows:
        start = _start(row[0], seconds)
        if start in wanted:
            found.setdefault((start, *row[1:4]), []).append(row)
    for group, parts in found.items():
        waited, ran = (added_up(Histogram.read(row[at]) for row in parts) for at in (5, 6))
        yield _values(seconds, group, sum(row[4] for row in parts), waited, ran)


def outdated(now: float) -> Sequence[Values]:
    """Return the values of purge_counters.sql: the counters that are too old."""
    return [{"seconds": seconds, "before": now - kept} for seconds, kept in KEPT.items()]


def counter_records(rows: Iterable[Row], seconds: int) -> list[CounterRecord]:
    """Make the records of rows of counters.sql."""
    return [_counted(seconds, *row) for row in rows]


# An open page asks for the same periods again and again, and those that are over do not change.
@functools.lru_cache(maxsize=8192)
def _counted(
    seconds: int, start: int, task: str, queue: str, state: str, jobs: int, waited: str, ran: str
) -> CounterRecord:
    waits, runs = Histogram.read(waited), Histogram.read(ran)
    return _record(seconds, start, (task, queue, state), jobs, waits, runs)


def latest_records(rows: Iterable[Row], seconds: int) -> list[CounterRecord]:
    """Make the records of rows of count_ends.sql, for jobs that are not in the counters yet."""
    return [
        _record(seconds, group[0], group[1:], *numbers, counted=False)
        for group, numbers in sorted(_grouped(rows).items())
    ]


def _record(
    seconds: int,
    start: int,
    names: Sequence[str],
    jobs: int,
    waited: Histogram,
    ran: Histogram,
    *,
    counted: bool = True,
) -> CounterRecord:
    task, queue, state = names
    return CounterRecord(
        started_at=as_datetime(start),
        seconds=seconds,
        task=task,
        queue=queue,
        state=_STATES[state],
        jobs=jobs,
        waited=waited,
        ran=ran,
        counted=counted,
    )


def bucket_sql(duration: str) -> str:
    """Return SQL for the bucket of a duration, for a database that has no function for it."""
    cases = " ".join(f"WHEN {duration} < {bound!r} THEN {at}" for at, bound in enumerate(BOUNDS))
    return f"CASE WHEN {duration} IS NULL THEN NULL {cases} ELSE {len(BOUNDS)} END"
