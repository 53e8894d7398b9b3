"""Counters of ended jobs, for charts."""

from collections.abc import Iterable, Sequence

from afterword.model.counters import BOUNDS, MINUTE, CounterRecord
from afterword.store import counting
from afterword.store.counting import Span
from afterword.store.parts import Row, Values
from afterword.store.postgres.people import PeopleConnection, repeated
from afterword.store.postgres.writer import Writer


class Counting:
    """Counts the jobs of minutes that are over, and reads the counters."""

    def __init__(self, writer: Writer, people: PeopleConnection) -> None:
        self._writer = writer
        self._people = people

    def roll_up(self, limit: int) -> int:
        """Count the jobs that ended in minutes that are over; returns how many minutes."""
        ((seen, first, now),) = self._writer.ask("to_count", {"first": counting.FIRST})
        span = counting.next_span(seen, first, now, limit)
        if span is None:
            return 0  # the usual case writes nothing
        with self._writer.transaction():
            moved = self._writer.execute("move_counted", {"seen": seen, "until": span.until})
            if moved:
                self._count(span)
                self._writer.execute("purge_counters", _columns(counting.outdated(now)))
        return (span.until - span.since) // MINUTE if moved else 0

    def _count(self, span: Span) -> None:
        values = counting.count_values(span.since, span.until, MINUTE, None)
        rows = self._writer.execute("count_ends", {**values, "bounds": list(BOUNDS)})
        minutes = counting.counter_rows(rows, MINUTE)
        if minutes:
            self._writer.execute("put_counters", _columns(minutes))
            longer = counting.longer_periods(minutes, self._minutes)
            self._writer.execute("put_counters", _columns(longer))

    def _minutes(self, since: int, until: int) -> list[Row]:
        values = {"seconds": MINUTE, "since": since, "until": until}
        return self._writer.execute("counters", values)

    @repeated
    def counters(self, since: float, seconds: int = MINUTE) -> Sequence[CounterRecord]:
        """The counters since then, and of the jobs that ended lately."""
        with self._people.looking() as session:
            ((seen, _, now),) = session.execute("to_count", {"first": 0})
            values = {"seconds": seconds, "since": since, "until": now + counting.FIRST}
            rows = session.execute("counters", values)
            begin, end = max(since, seen or 0), now + counting.FIRST
            values = counting.count_values(begin, end, seconds, counting.LATEST)
            latest = session.execute("count_ends", {**values, "bounds": list(BOUNDS)})
        return [
            *counting.counter_records(rows, seconds),
            *counting.latest_records(latest, seconds),
        ]


def _columns(rows: Iterable[Values]) -> Values:
    """Make one array for each name of these rows."""
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in listed[0]}
