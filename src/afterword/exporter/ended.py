"""Numbers of ended jobs, as counters that only rise.

The store counts by the minute (`Store.counters`), and forgets after two days. A counter of
Prometheus must never fall, so what a minute has counted is kept here: as the largest number that it
ever had, because a minute is counted again when it is over, and once more some minutes later. The
counters begin at zero with this object, as those of any restarted process do.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from afterword.model.counters import MINUTE, CounterRecord, Histogram, added_up
from afterword.model.job import JobState
from afterword.store.protocol import Store

SETTLED = 600.0  # seconds after which the number of a minute does not change any more


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


class EndedJobs:
    """Counts the jobs that end in a store; any thread may read.

    Args:
        store: returns the store, opened if necessary; it may block.
        now: the store's time, in seconds since 1970.
    """

    def __init__(self, store: Callable[[], Store], now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._lock = threading.Lock()
        self._settled: dict[Key, Ended] = {}
        self._minutes: dict[tuple[float, Key], Ended] = {}  # that may still change
        self._since: float | None = None

    def read(self) -> Mapping[Key, Ended]:
        """Return all that has ended since the first call's minute."""
        with self._lock:
            now = self._now()
            if self._since is None:
                self._since = now // MINUTE * MINUTE
            self._note(self._store().counters(self._since))
            self._settle(now - SETTLED)
            found = dict(self._settled)
            for (_, key), ended in self._minutes.items():
                found[key] = found[key] + ended if key in found else ended
            return found

    def _note(self, records: Iterable[CounterRecord]) -> None:
        for each in records:
            at = (each.started_at.timestamp(), Key(each.task, each.queue, each.state))
            known = self._minutes.get(at)
            if known is None or each.jobs > known.jobs:
                self._minutes[at] = Ended(each.jobs, each.waited, each.ran)

    def _settle(self, until: float) -> None:
        """Add up the minutes that do not change any more, and forget them."""
        for at in [at for at in self._minutes if at[0] + MINUTE <= until]:
            ended, key = self._minutes.pop(at), at[1]
            self._settled[key] = self._settled[key] + ended if key in self._settled else ended
        self._since = max(self._since or 0.0, until // MINUTE * MINUTE)
