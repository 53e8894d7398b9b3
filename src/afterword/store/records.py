"""From rows to claims, and to the records that people see."""

import json
from collections.abc import Sequence
from datetime import datetime

from afterword.model.clock import as_datetime
from afterword.model.job import JobRecord, JobState, first_id
from afterword.model.records import (
    AttemptRecord,
    Filter,
    QueueRecord,
    ScheduleRecord,
    TaskRecord,
    WorkerRecord,
)
from afterword.store.columns import COLUMNS
from afterword.store.parts import Row
from afterword.store.protocol import Claim


def claim_of(row: Row, due_at: float) -> Claim:
    """Make a claim from a row of claim.sql, without the columns for sorting and limits.

    Args:
        due_at: the time from which the job could start.
    """
    job_id, attempt, worker, fence, task, arguments, created_at, queue, options, tags, *rest = row
    failures, interrupted, lost, parked, limit_key = rest
    return Claim(
        job_id,
        attempt,
        worker,
        task,
        arguments,
        created_at,
        queue,
        options,
        tags_of(tags) if tags else (),
        failures,
        interrupted,
        limit_key is not None,
        lost,
        fence,
        parked,
        due_at,
    )


# ---------------------------------------------------------------------- for people


def record(row: Row) -> JobRecord:
    """A job: `COLUMNS`, and its times. A row edited by hand must not hide the others."""
    *fields, created_at, run_at, started_at, finished_at, parked_at = row
    values = dict(zip(COLUMNS, fields, strict=True))
    state = state_of(values["state"])
    if state != values["state"]:
        values["error"] = f"the store holds an unknown state: {values['state']!r}"
    elif state is JobState.RUNNING:
        values["error"] = None  # it is that of the attempt before; a release keeps it
    return JobRecord(
        **{**values, "state": state, "tags": tags_of(values["tags"])},
        created_at=as_datetime(created_at),
        run_at=as_datetime(run_at),
        started_at=_maybe_datetime(started_at),
        finished_at=_maybe_datetime(finished_at),
        parked_at=_maybe_datetime(parked_at),
    )


def tags_of(stored: str | Sequence[str] | None) -> tuple[str, ...]:
    """A job's tags: JSON in SQLite, an array in PostgreSQL.

    >>> tags_of('["a", "b"]'), tags_of(None), tags_of("5")
    (('a', 'b'), (), ())
    """
    return texts_of(json.loads(stored) if isinstance(stored, str) else stored)


def texts_of(stored: object) -> tuple[str, ...]:
    """Return the texts of a list; anything else is ignored."""
    if not isinstance(stored, list | tuple):
        return ()
    return tuple(each for each in stored if isinstance(each, str))


def attempts_of(record: JobRecord, rows: Sequence[Row]) -> Sequence[AttemptRecord]:
    """Return the attempts at a job: those on record, and the last one, which the job keeps."""
    known = [
        AttemptRecord(
            job_id=job_id,
            attempt=attempt,
            worker=worker,
            outcome=outcome,
            error=error,
            started_at=_maybe_datetime(started_at),
            ended_at=as_datetime(ended_at),
        )
        for job_id, attempt, worker, outcome, error, started_at, ended_at in rows
    ]
    if record.state is JobState.QUEUED or record.attempt in {0, *(each.attempt for each in known)}:
        return known
    last = AttemptRecord(
        job_id=record.id,
        attempt=record.attempt,
        worker=record.worker,
        outcome=record.state.value if record.state.final else None,
        error=record.error,
        started_at=record.started_at,
        ended_at=record.finished_at,
    )
    return [*known, last]


def schedule_record(row: Row) -> ScheduleRecord:
    """Make the record of a row of schedules.sql."""
    name, task, rule, words, next_at, last_at, paused, seen_at = row
    return ScheduleRecord(
        name=name,
        task=task,
        rule=rule,
        words=words,
        next_at=as_datetime(next_at),
        last_at=_maybe_datetime(last_at),
        paused=bool(paused),
        seen_at=as_datetime(seen_at),
    )


def state_of(text: str) -> JobState:
    """Return a stored state; an unknown one counts as failed."""
    return JobState(text) if text in list(JobState) else JobState.FAILED


def worker_record(row: Row) -> WorkerRecord:
    """A worker, in the order of the record's fields."""
    worker, host, pid, queues, concurrency, running, joined_at, expires_at, retired, alive = row
    return WorkerRecord(
        id=worker,
        host=host,
        pid=pid,
        queues=texts_of(queues),
        concurrency=concurrency,
        running=running,
        joined_at=as_datetime(joined_at),
        expires_at=as_datetime(expires_at),
        retired=bool(retired),
        alive=alive,
    )


def queue_record(row: Row) -> QueueRecord:
    """Make the record of a row of queues.sql."""
    name, due, scheduled, waiting, running, oldest_at, paused, concurrency = row
    return QueueRecord(
        name=name,
        due=due,
        scheduled=scheduled,
        waiting=waiting,
        running=running,
        oldest_at=_maybe_datetime(oldest_at),
        paused=bool(paused),
        concurrency=concurrency,
    )


def task_record(row: Row) -> TaskRecord:
    """Make the record of a row of tasks.sql."""
    name, queued, running = row
    return TaskRecord(name=name, queued=queued, running=running)


def _maybe_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else as_datetime(seconds)


def first_id_since(wanted: Filter) -> str | None:
    """Return the first id of jobs added since then; clocks may differ by a day."""
    return None if wanted.since is None else first_id(wanted.since - 24 * 3600)


def last_id_until(wanted: Filter) -> str | None:
    """Return an id behind those of jobs added until then; clocks may differ by a day."""
    return None if wanted.until is None else first_id(wanted.until + 24 * 3600)


def maybe_timestamp(at: datetime | None) -> float | None:
    """Seconds since 1970."""
    return None if at is None else at.timestamp()
