"""Recent work of a store: how many jobs ended in each period, how long they waited and ran."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from afterword.model.counters import (
    HOUR,
    MINUTE,
    TEN_MINUTES,
    CounterRecord,
    Histogram,
    added_up,
)
from afterword.model.job import JobState
from afterword.store.protocol import Store

_DAY = 24 * HOUR
_RISEN = 3.0  # times as many failures as in an hour before are a trend
_MANY = 10  # failures in an hour: fewer are none


@dataclass(frozen=True, slots=True)
class Range:
    """A range of time that ends now.

    Args:
        name: in a URL, such as "6h".
        words: for people.
        seconds: its length.
        step: the seconds of each of its periods.
        counted: the seconds of the counters that are added up for a period.
    """

    name: str
    words: str
    seconds: int
    step: int
    counted: int


RANGES = {
    each.name: each
    for each in (
        Range("1h", "hour", HOUR, MINUTE, MINUTE),
        Range("6h", "6 hours", 6 * HOUR, TEN_MINUTES, TEN_MINUTES),
        Range("24h", "24 hours", _DAY, 2 * TEN_MINUTES, TEN_MINUTES),
        Range("7d", "7 days", 7 * _DAY, 2 * HOUR, HOUR),
    )
}


@dataclass(frozen=True)
class Period:
    """The jobs that ended in a period.

    Args:
        start: seconds since 1970.
        records: the counters in it.
    """

    start: float
    records: Sequence[CounterRecord]

    @cached_property
    def ended(self) -> int:
        """The number of jobs that ended."""
        return sum(each.jobs for each in self.records)

    def jobs(self, state: JobState) -> int:
        """Return the number of jobs that ended in this state."""
        return sum(each.jobs for each in self.records if each.state is state)

    @cached_property
    def waited(self) -> Histogram:
        """The time that they had waited."""
        return added_up(each.waited for each in self.records)

    @cached_property
    def ran(self) -> Histogram:
        """The time that they ran."""
        return added_up(each.ran for each in self.records)


@dataclass(frozen=True)
class Activity:
    """The jobs that ended in a range of time.

    Args:
        range: the range.
        periods: all of its periods, the oldest first; the last one is not over.
    """

    range: Range
    periods: Sequence[Period]

    def jobs(self, state: JobState) -> int:
        """Return the number of jobs that ended in this state."""
        return sum(each.jobs(state) for each in self.periods)

    @cached_property
    def waited(self) -> Histogram:
        """The times that all of them had waited."""
        return added_up(each.waited for each in self.periods)

    @cached_property
    def ran(self) -> Histogram:
        """The times that all of them ran."""
        return added_up(each.ran for each in self.periods)

    def by_queue(self) -> Mapping[str, Sequence[int]]:
        """Return the number of jobs that ended in each period, for each queue that had some."""
        found: dict[str, list[int]] = defaultdict(lambda: [0] * len(self.periods))
        for place, period in enumerate(self.periods):
            for each in period.records:
                found[each.queue][place] += each.jobs
        return found


def activity(store: Store, wanted: Range, now: float) -> Activity:
    """Read the jobs that ended in a range of time before now."""
    end = (int(now) // wanted.step + 1) * wanted.step
    starts = range(end - wanted.seconds, end, wanted.step)
    found: dict[int, list[CounterRecord]] = {start: [] for start in starts}
    for each in store.counters(starts[0], wanted.counted):
        start = int(each.started_at.timestamp()) // wanted.step * wanted.step
        if start in found:
            found[start].append(each)
    return Activity(wanted, [Period(start, records) for start, records in found.items()])


@dataclass(frozen=True, slots=True)
class Failed:
    """The failures of the last 24 hours: how many jobs, and of how many tasks."""

    jobs: int
    tasks: int


def failed_in_a_day(store: Store, now: float) -> Failed:
    """Count the failures of 24 hours: those since the hour began, and the 23 hours before."""
    records = store.counters(int(now) // HOUR * HOUR - 23 * HOUR, HOUR)
    failed = [each for each in records if each.state is JobState.FAILED]
    return Failed(sum(each.jobs for each in failed), len({each.task for each in failed}))


def rising(lately: int, in_a_day: int) -> list[str]:
    """Return a sentence if there are many more failures in the last hour than in those before.

    >>> rising(30, in_a_day=53)
    ['failures are rising: 30 in the last hour, after 1 an hour in the day before']
    >>> rising(30, in_a_day=24 * 30)
    []
    """
    usual = max(0, in_a_day - lately) / 23
    if lately < _MANY or lately < _RISEN * usual:
        return []
    before = f"{usual:.1f}".removesuffix(".0")
    return [
        f"failures are rising: {lately:,} in the last hour,"
        f" after {before} an hour in the day before"
    ]
