"""What the stores' rows have in common: how a job ends in them, and what they show to people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from afterword.clock import as_datetime
from afterword.job import JobRecord, JobState, first_id
from afterword.outcome import Cancelled, Completed, Failed, Outcome
from afterword.records import Filter, QueueRecord, TaskRecord, WorkerRecord
from afterword.store import MAX_LOST

Row = tuple[Any, ...]
Values = Mapping[str, Any]

INTERRUPTED = "interrupted by a shutdown"
POISON = f"poison: {MAX_LOST} workers were lost while they ran this job"

# The columns that tables and statements have in this order; the times come behind them.
COLUMNS = (
    *("id", "task", "arguments", "queue", "priority", "state", "attempt", "lost", "interrupted"),
    *("worker", "after", "on_failure", "request_id", "error"),
)
_FINAL: Mapping[type[Outcome], JobState] = {
    Completed: JobState.COMPLETED,
    Failed: JobState.FAILED,
    Cancelled: JobState.CANCELLED,
}


def final_state(outcome: Outcome) -> JobState | None:
    """The state a job ends in; None if it is to be queued again."""
    return _FINAL.get(type(outcome))


def final_error(outcome: Outcome) -> str | None:
    """What is kept of why it did not complete."""
    if isinstance(outcome, Cancelled):
        return outcome.reason
    return outcome.error if isinstance(outcome, Failed) else None


def lost_during(worker: str, attempt: int) -> str:
    """What a job says that is queued again because its worker was lost."""
    return f"worker {worker} was lost during attempt {attempt}"


def first_of_each(ids: Sequence[str], done: set[str]) -> list[bool]:
    """Whether it was done to each of these; of two with one id, the first had it.

    >>> first_of_each(["a", "b", "a"], {"a"})
    [True, False, False]
    """
    left = set(done)
    answers = []
    for job_id in ids:
        answers.append(job_id in left)
        left.discard(job_id)
    return answers


# ---------------------------------------------------------------------- for people


def record(row: Row) -> JobRecord:
    """A job: `COLUMNS`, and its times. A row edited by hand must not hide the others."""
    *fields, created_at, run_at, started_at, finished_at = row
    values = dict(zip(COLUMNS, fields, strict=True))
    state = state_of(values["state"])
    if state != values["state"]:
        values["error"] = f"the store holds an unknown state: {values['state']!r}"
    return JobRecord(
        **{**values, "state": state},
        created_at=as_datetime(created_at),
        run_at=as_datetime(run_at),
        started_at=_maybe_datetime(started_at),
        finished_at=_maybe_datetime(finished_at),
    )


def state_of(text: str) -> JobState:
    """A stored state; one that there is not counts as failed."""
    return JobState(text) if text in list(JobState) else JobState.FAILED


def worker_record(row: Row) -> WorkerRecord:
    """A worker, in the order of the record's fields."""
    worker, host, pid, queues, concurrency, running, joined_at, expires_at, retired, alive = row
    return WorkerRecord(
        id=worker,
        host=host,
        pid=pid,
        queues=tuple(queues),
        concurrency=concurrency,
        running=running,
        joined_at=as_datetime(joined_at),
        expires_at=as_datetime(expires_at),
        retired=bool(retired),
        alive=alive,
    )


def queue_record(row: Row) -> QueueRecord:
    """What queues.sql returns."""
    name, due, scheduled, waiting, running, oldest_at = row
    return QueueRecord(
        name=name,
        due=due,
        scheduled=scheduled,
        waiting=waiting,
        running=running,
        oldest_at=_maybe_datetime(oldest_at),
    )


def task_record(row: Row) -> TaskRecord:
    """What tasks.sql returns."""
    name, queued, running, completed, failed, cancelled, last_at = row
    return TaskRecord(
        name=name,
        queued=queued,
        running=running,
        completed=completed,
        failed=failed,
        cancelled=cancelled,
        last_at=_maybe_datetime(last_at),
    )


def _maybe_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else as_datetime(seconds)


def first_id_since(wanted: Filter) -> str | None:
    """The first id that a job may have which was added since then; clocks may differ by a day."""
    return None if wanted.since is None else first_id(wanted.since - 24 * 3600)


def maybe_timestamp(at: datetime | None) -> float | None:
    """Seconds since 1970."""
    return None if at is None else at.timestamp()
