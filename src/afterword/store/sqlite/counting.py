"""Counters of ended jobs, for charts."""

import functools
from collections.abc import Sequence

from afterword.model.clock import Clock
from afterword.model.counters import MINUTE, CounterRecord
from afterword.store import counting
from afterword.store.counting import Span
from afterword.store.parts import Row
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.writer import Writer, sql

_ALL = -1  # as a LIMIT


class Counting:
    """Counts the jobs of minutes that are over, and reads the counters."""

    def __init__(self, writer: Writer, reader: Reader, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    def roll_up(self, limit: int) -> int:
        """Count the jobs that ended in minutes that are over; returns how many minutes."""
        now = self._clock.now()
        ((seen, first),) = self._writer.look("to_count", {"first": now - counting.FIRST})
        span = counting.next_span(seen, first, now, limit)
        if span is None:
            return 0  # the usual case writes nothing
        with self._writer.transaction():
            moved = self._writer.write("move_counted", {"seen": seen, "until": span.until})
            if moved:
                self._count(span)
                self._writer.write_many("purge_counters", counting.outdated(now))
        return (span.until - span.since) // MINUTE if moved else 0

    def _count(self, span: Span) -> None:
        values = counting.count_values(span.since, span.until, MINUTE, _ALL)
        with self._writer.errors():
            rows = self._writer.connection.execute(_count_ends(), values).fetchall()
        minutes = counting.counter_rows(rows, MINUTE)
        self._writer.write_many("put_counters", minutes)
        self._writer.write_many("put_counters", counting.longer_periods(minutes, self._minutes))

    def _minutes(self, since: int, until: int) -> list[Row]:
        values = {"seconds": MINUTE, "since": since, "until": until}
        return self._writer.write("counters", values)

    def counters(self, since: float, seconds: int = MINUTE) -> Sequence[CounterRecord]:
        """The counters since then, and of the jobs that ended lately."""
        now = self._clock.now()
        with self._reader.snapshot() as read:
            ((seen, _),) = read(sql("to_count"), {"first": now})
            values = {"seconds": seconds, "since": since, "until": now + counting.FIRST}
            rows = read(sql("counters"), values)
            begin, end = max(since, seen or 0), now + counting.FIRST
            latest_values = counting.count_values(begin, end, seconds, counting.LATEST)
            latest = read(_count_ends(), latest_values)
        return [
            *counting.counter_records(rows, seconds),
            *counting.latest_records(latest, seconds),
        ]


@functools.cache
def _count_ends() -> str:
    """Return count_ends.sql with the buckets, for which SQLite has no function."""
    text = sql("count_ends")
    for duration in ("waited", "ran"):
        text = text.replace(f"/* {duration} */", counting.bucket_sql(duration))
    return text
