"""Queries of people and their answers: filters, and read-only records of the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from afterword.model.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A selection of jobs: those that match every field that is set.

    Args:
        task, queue, worker, request_id: an exact match.
        tag: one of the job's tags.
        tenant: another one: the tag of the jobs that a person may see.
        error: text that the job's error contains; case counts.
        since, until: the time at which the job was added, in seconds since 1970; `until` itself is
            not in the selection.
        above: an id that is lower than those of the jobs; see `Store.window`.
        parked: True selects queued jobs that no worker could run so far (`JobRecord.parked_at`).
    """

    state: JobState | None = None
    task: str | None = None
    queue: str | None = None
    worker: str | None = None
    request_id: str | None = None
    tag: str | None = None
    tenant: str | None = None
    error: str | None = None
    since: float | None = None
    until: float | None = None
    parked: Literal[True] | None = None
    above: str | None = None

    def __post_init__(self) -> None:
        """Look for queued jobs only, if for parked ones."""
        if self.parked:
            object.__setattr__(self, "state", JobState.QUEUED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A worker in the store; `alive` is False if its jobs are about to be recovered."""

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

    `due` jobs could be claimed now, unless the queue is `paused`; the oldest of them has been due
    since `oldest_at`. `concurrency` is the number of jobs of the queue that may run at the same
    time, over all processes; None: no limit.
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
    """One attempt at a job; `outcome` is None while it runs.

    An attempt ends as "completed", "handed_over", "failed", "cancelled", "interrupted" (by a
    shutdown) or "lost" (with its worker). `error` is the traceback or the reason, as text.
    """

    job_id: str
    attempt: int
    worker: str | None
    outcome: str | None
    error: str | None
    started_at: datetime | None  # unknown for a lost attempt
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule in the store; `next_at` is its next occurrence without a job."""

    name: str
    task: str
    rule: str  # as written: "*/5 * * * * Europe/Berlin"
    words: str  # the rule in words
    next_at: datetime
    last_at: datetime | None  # the latest occurrence that has a job
    paused: bool
    seen_at: datetime  # when a process last declared this schedule


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding of a store about itself.

    Args:
        fix: advice; "": nothing is wrong.
        serious: False if the store works correctly nevertheless.
    """

    name: str
    found: str
    fix: str = ""
    serious: bool = True

    @property
    def is_problem(self) -> bool:
        """True if a person has to act."""
        return bool(self.fix) and self.serious


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """The numbers of a task's unfinished jobs."""

    name: str
    queued: int
    running: int
