"""The state of a store now, as gauges."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from afterword.admin.health import FORGOTTEN, serves
from afterword.model.records import QueueRecord, ScheduleRecord, WorkerRecord
from afterword.store.protocol import Store
from afterword.telemetry.metrics import Values

COUNTED = 100_000  # jobs of a queue, priority and state; so many take a tenth of a second
SLOW = 0.2  # seconds of counting from which on the numbers are used again
SHARE = 10  # times as long as it took to count, so that counting takes a tenth of the time at most
STATES = ("due", "scheduled", "waiting", "running")  # of unfinished jobs, as fields of a queue


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one worker, and how many of them are taken."""

    all: int = 0
    used: int = 0


class Gauges:
    """Reads gauges from a store, in any thread.

    Args:
        store: returns the store, opened if necessary; it may block.
        now: the store's time, in seconds since 1970.
        slots: returns those of this process's worker; None: it has none.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        now: Callable[[], float],
        slots: Callable[[], Slots | None] = lambda: None,
    ) -> None:
        self._store, self._now, self._slots = store, now, slots
        self._counting = threading.Lock()
        self._counted: Sequence[QueueRecord] = ()
        self._count_after = 0.0  # by the monotonic clock

    def read(self, name: str) -> Values:
        """Read one of `telemetry.metrics.GAUGES`."""
        match name:
            case "afterword.slots" | "afterword.slots.used":
                slots = self._slots()
                wanted = [] if slots is None else [slots]
                return [(each.used if "used" in name else each.all, {}) for each in wanted]
            case "afterword.workers":
                return [(len(self.workers()), {})]
            case "afterword.queue.jobs":
                return [
                    (count, {"afterword.queue": queue.name, "afterword.state": state})
                    for queue in self.queues()
                    for state, count in counts_of(queue)
                ]
            case "afterword.queue.oldest":
                return [
                    (self.age_of(each), {"afterword.queue": each.name}) for each in self.queues()
                ]
            case _:
                return [
                    (self.lag_of(each), {"afterword.schedule": each.name})
                    for each in self.schedules()
                ]

    def queues(self) -> Sequence[QueueRecord]:
        """Return the queues that have unfinished jobs or a rule; see COUNTED.

        Callers that come at the same time share one count.
        """
        store = self._store()
        with self._counting:
            began = time.monotonic()
            if began >= self._count_after:
                self._counted = store.queues(COUNTED)
                ended = time.monotonic()
                spent = ended - began
                self._count_after = ended + SHARE * spent if spent > SLOW else began
            return self._counted

    def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers that take jobs."""
        return [each for each in self._store().workers() if serves(each)]

    def schedules(self) -> Sequence[ScheduleRecord]:
        """Return the schedules that running code has, and that are not paused.

        If no process is running, they have not been removed from the code: they are late.
        """
        store = self._store()
        known = store.schedules()
        latest = max((each.seen_at.timestamp() for each in known), default=0.0)
        is_running = any(each.alive for each in store.workers())
        since = (self._now() if is_running else min(self._now(), latest)) - FORGOTTEN
        return [each for each in known if each.seen_at.timestamp() > since and not each.paused]

    def age_of(self, queue: QueueRecord) -> float:
        """Return for how many seconds the oldest due job of a queue has waited."""
        if not queue.due or queue.oldest_at is None:
            return 0.0
        return max(0.0, self._now() - queue.oldest_at.timestamp())

    def lag_of(self, schedule: ScheduleRecord) -> float:
        """Return for how many seconds a schedule has been due without having made its job."""
        return max(0.0, self._now() - schedule.next_at.timestamp())


def counts_of(queue: QueueRecord) -> Iterator[tuple[str, int]]:
    """Return how many unfinished jobs of a queue are in each state."""
    return ((state, getattr(queue, state)) for state in STATES)
