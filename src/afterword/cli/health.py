"""Whether a store is well: decided from what it says of itself, without asking again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afterword.cli.duration import show_span
from afterword.job import JobState
from afterword.records import QueueRecord, WorkerRecord
from afterword.store import Store
from afterword.telemetry import printable

COUNT_LIMIT = 10_000  # no state is counted further
STALE = 300.0  # seconds a due job may wait before that is a problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a store said at one moment, `now` (seconds since 1970)."""

    counts: Mapping[JobState, int]
    queues: Sequence[QueueRecord]
    workers: Sequence[WorkerRecord]
    now: float

    @property
    def oldest(self) -> QueueRecord | None:
        """The queue whose due jobs wait longest."""
        due = [(queue.oldest_at, queue) for queue in self.queues if queue.due and queue.oldest_at]
        return min(due, key=lambda pair: pair[0])[1] if due else None

    def waits(self, queue: QueueRecord) -> float:
        """The seconds for which a queue's oldest due job has waited."""
        since = queue.oldest_at.timestamp() if queue.oldest_at and queue.due else self.now
        return max(0.0, self.now - since)

    def serving(self, queue: str) -> list[WorkerRecord]:
        """The workers that take jobs from this queue."""
        return [worker for worker in self.workers if serves(worker, queue)]

    @property
    def unserved(self) -> list[QueueRecord]:
        """The queues with jobs that nobody would take."""
        return [queue for queue in self.queues if not self.serving(queue.name)]

    @property
    def problems(self) -> list[str]:
        """What needs a person, most urgent first; empty for a healthy store."""
        return [*self._unserved(), *self._stale(), *self._gone()]

    def _unserved(self) -> list[str]:
        return [
            f"no worker serves the queue {printable(queue.name)}, in which {_wait(queue)}"
            for queue in self.unserved
            if queue.due
        ]

    def _stale(self) -> list[str]:
        return [
            f"the oldest due job in the queue {printable(queue.name)} has waited for"
            f" {show_span(self.waits(queue))}"
            for queue in self.queues
            if self.waits(queue) > STALE
        ]

    def _gone(self) -> list[str]:
        return [
            f"the worker {printable(worker.id)} on {printable(worker.host)} is gone and still"
            f" holds {worker.running:,} running jobs"
            for worker in self.workers
            if worker.running and not worker.alive
        ]


def look_at(store: Store, now: float) -> Snapshot:
    """Ask a store for everything that its health depends on."""
    return Snapshot(
        counts=store.count(limit=COUNT_LIMIT + 1),
        queues=store.queues(),
        workers=store.workers(),
        now=now,
    )


def serves(worker: WorkerRecord, queue: str | None = None) -> bool:
    """Whether a worker takes new jobs, from this queue if one is named."""
    takes = worker.alive and not worker.retired and worker.concurrency > 0
    return takes and (queue is None or queue in worker.queues)


def capped(number: int, limit: int = COUNT_LIMIT) -> str:
    """A count that went no further than the limit.

    >>> capped(10_000), capped(10_001)
    ('10,000', '10,000+')
    """
    return f"{min(number, limit):,}{'+' if number > limit else ''}"


def _wait(queue: QueueRecord) -> str:
    return f"{queue.due:,} due jobs wait" if queue.due > 1 else "1 due job waits"
