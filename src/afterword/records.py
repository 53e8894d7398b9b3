"""What people ask a store, and what it answers: filters, and rows that are only looked at."""

from dataclasses import dataclass
from datetime import datetime

from afterword.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs: those that match everything that is set.

    Args:
        task, queue, worker, request_id: exactly this.
        error: text that the job's error contains, as written.
        since: seconds since 1970; added at this time or later.
    """

    state: JobState | None = None
    task: str | None = None
    queue: str | None = None
    worker: str | None = None
    request_id: str | None = None
    error: str | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A worker on the store's list; `alive` is False when its jobs are about to be recovered."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int  # 0: it only stores jobs
    running: int
    joined_at: datetime
    expires_at: datetime
    retired: bool  # shutting down
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecord:
    """A queue with unfinished jobs. `due` could be claimed now; `oldest_at` is since when."""

    name: str
    due: int
    scheduled: int  # run_at is in the future
    waiting: int  # for a predecessor
    running: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Remark:
    """What a store says of itself; `fix` is empty if that is as it should be."""

    name: str
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """What became of a task's jobs: the unfinished ones, and those that ended lately."""

    name: str
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    last_at: datetime | None  # when one ended last
