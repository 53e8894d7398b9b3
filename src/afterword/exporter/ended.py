"""Numbers of ended jobs, as counters that only rise.

They are read from the store alone (`Store.counters`), so all processes that are asked tell the
same, and a restart changes nothing: the workers of one server may answer in turn. Therefore only
minutes that are over count. What the store has not counted yet could still fall: jobs are retried,
deleted and purged.

The store keeps its counters for a year, and the oldest ones go. A counter of Prometheus must never
fall but to zero, so it begins at zero every 28 days, everywhere at the same time.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from afterword.model.counters import HOUR, CounterRecord, Histogram, added_up
from afterword.model.job import JobState
from afterword.store.protocol import Store

PERIOD = 28 * 24 * HOUR  # seconds from zero to zero
USUAL = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Key:
    """The task, queue and state whose jobs are counted together."""

    task: str
    queue: str
    state: JobState


@dataclass(frozen=True, slots=True)
class Ended:
    """Jobs that ended, how long they had waited, and how long they ran."""

    jobs: int
    waited: Histogram
    ran: Histogram

    def __add__(self, other: "Ended") -> "Ended":
        """Add others."""
        return Ended(
            self.jobs + other.jobs,
            added_up([self.waited, other.waited]),
            added_up([self.ran, other.ran]),
        )


NONE = Ended(0, Histogram({}), Histogram({}))


class EndedJobs:
    """Counts the jobs that have ended in a store; any thread may read.

    Args:
        store: returns the store, opened if necessary; it may block.
        now: the store's time, in seconds since 1970.
    """

    def __init__(self, store: Callable[[], Store], now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._lock = threading.Lock()
        self._began_at = -1.0
        self._settled: dict[Key, Ended] = {}  # in the hours before `_since`
        self._since = 0.0

    def read(self) -> Mapping[Key, Ended]:
        """Return all that has ended since the counters began at zero."""
        store = self._store()
        with self._lock:
            began_at = self._now() // PERIOD * PERIOD
            if began_at != self._began_at:
                self._settled = dict.fromkeys(_keys(store.counters(began_at - PERIOD, HOUR)), NONE)
                self._began_at = self._since = began_at
            records = store.counters(self._since, HOUR)
            for key in _keys(records):
                self._settled.setdefault(key, NONE)
            found = self._settled.copy()
            _add(found, records)
            self._settle(records)
            return found

    def _settle(self, records: Iterable[CounterRecord]) -> None:
        """Add up the hours that no longer change.

        The store counts in order, and counts each minute again a few minutes later.
        """
        counted = [each for each in records if each.counted]
        newest = max((each.started_at.timestamp() for each in counted), default=0.0)
        until = newest - HOUR
        if until > self._since:
            _add(self._settled, (each for each in counted if each.started_at.timestamp() < until))
            self._since = until


def _keys(records: Iterable[CounterRecord]) -> Iterable[Key]:
    """Return the keys to be reported as zero, before a job is counted.

    A number that appears out of nothing is no increase for Prometheus: the first failure of a task
    would not be seen.
    """
    tasks = {(each.task, each.queue) for each in records}
    others = {Key(each.task, each.queue, each.state) for each in records}
    return others | {Key(*task, state) for task, state in product(tasks, USUAL)}


def _add(found: dict[Key, Ended], records: Iterable[CounterRecord]) -> None:
    for each in records:
        if each.counted:
            key = Key(each.task, each.queue, each.state)
            found[key] = found.get(key, NONE) + Ended(each.jobs, each.waited, each.ran)
