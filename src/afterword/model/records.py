"""What people ask a store, and what it answers: filters, and rows that are only looked at."""

from dataclasses import dataclass
from datetime import datetime

from afterword.model.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs: those that match everything that is set.

    Args:
        task, queue, worker, request_id: exactly this.
        tag: one of the job's tags.
        error: text that the job's error contains, as written.
        since: seconds since 1970; added at this time or later.
    """

    state: JobState | None = None
    task: str | None = None
    queue: str | None = None
    worker: str | None = None
    request_id: str | None = None
    tag: str | None = None
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
    """A queue with unfinished jobs, or with a rule of its own.

    `due` could be claimed now (if it is not `paused`); `oldest_at` is since when. `concurrency` is
    how many of its jobs may run at the same time, over all processes; None: any number.
    """

    name: str
    due: int
    scheduled: int  # run_at is in the future
    waiting: int  # for a predecessor
    running: int
    oldest_at: datetime | None
    paused: bool = False
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try at a job; `outcome` is None while it runs.

    An attempt can end as "completed", "failed" or "cancelled", "interrupted" by a shutdown, or
    "lost" with its worker. `error` is the traceback or the reason, as text.
    """

    job_id: str
    attempt: int
    worker: str | None
    outcome: str | None
    error: str | None
    started_at: datetime | None  # not known of one that was lost
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as the store knows it; `next_at` is its next occurrence that has no job yet."""

    name: str
    task: str
    rule: str  # as written: "*/5 * * * * Europe/Berlin"
    words: str  # for people
    next_at: datetime
    last_at: datetime | None  # the latest occurrence that got a job
    paused: bool
    seen_at: datetime  # when a process last said that its code has this schedule


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
