"""Between rows and values: what a statement is given, and what it returns."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from afterword.clock import as_datetime
from afterword.job import Job, JobRecord, JobState
from afterword.outcome import Cancelled, Failed, Released, Retry
from afterword.records import QueueRecord, TaskRecord, WorkerRecord
from afterword.store import STOPPED, Claim, Putback, Settlement

Row = tuple[Any, ...]
Values = Mapping[str, Any]

INTERRUPTED = "interrupted by a shutdown"
_NAMES = (
    *("id", "task", "arguments", "queue", "priority", "state", "attempt", "lost", "interrupted"),
    *("worker", "after", "on_failure", "request_id", "error"),
)


def new_row(job: Job, held_by: str | None, now: float) -> Values:
    """The row of a job that is added at this time."""
    held = job.held and held_by is not None
    return {
        "id": job.id,
        "task": job.task,
        "arguments": job.arguments,
        "queue": job.queue,
        "priority": job.priority,
        "state": "running" if held else "queued",
        "run_at": now if job.run_at is None else job.run_at,
        "attempt": int(held),
        "worker": held_by if held else None,
        "after": job.after,
        "on_failure": job.on_failure,
        "request_id": job.request_id,
        "now": now,
    }


def claim_of(row: Row) -> Claim:
    """What claim.sql returns; its text as bytes, which a damaged row may hold."""
    _, job_id, attempt, worker, task, arguments, created_at, queue = row
    text = arguments.decode(errors="replace")
    return Claim(job_id, attempt, worker, task.decode(errors="replace"), text, created_at, queue)


def fence(claim: Claim) -> dict[str, Any]:
    """What a write that ends an attempt must match."""
    return {"id": claim.id, "attempt": claim.attempt, "worker": claim.worker}


def release_row(putback: Putback) -> Values:
    """The values of release.sql."""
    return {**fence(putback.claim), "at": putback.at or 0.0, "reason": putback.reason}


def final_row(settlement: Settlement, state: JobState, now: float) -> Values:
    """The values of finish.sql, and of the statements behind it."""
    outcome = settlement.outcome
    error = outcome.error if isinstance(outcome, Failed) else None
    return {
        **fence(settlement.claim),
        "state": state.value,
        "error": outcome.reason if isinstance(outcome, Cancelled) else error,
        "started_at": settlement.started_at,
        "lost": 0,
        "stopped": STOPPED,
        "now": now,
    }


def again_row(settlement: Settlement) -> Values:
    """The values of requeue.sql."""
    outcome = settlement.outcome
    retry = outcome if isinstance(outcome, Retry) else None
    return {
        **fence(settlement.claim),
        "at": retry.at if retry else 0.0,
        "error": retry.error if retry else INTERRUPTED,
        "interrupted": int(isinstance(outcome, Released)),
        "lost": 0,
    }


def record(row: Row) -> JobRecord:
    """What get.sql and the find_ statements return; a row edited by hand must not hide others."""
    *fields, created_at, run_at, started_at, finished_at = row
    values = dict(zip(_NAMES, fields, strict=True))
    values["arguments"] = values["arguments"].decode(errors="replace")
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


def restored_row(found: JobRecord) -> Values:
    """The values of restore.sql and restore_ended.sql."""
    fields = {name: getattr(found, name) for name in _NAMES}
    return {
        **fields,
        "state": found.state.value,
        "created_at": found.created_at.timestamp(),
        "run_at": found.run_at.timestamp(),
        "started_at": found.started_at.timestamp() if found.started_at else None,
        "finished_at": found.finished_at.timestamp() if found.finished_at else None,
    }


def worker_record(row: Row, *, alive: bool) -> WorkerRecord:
    """What workers.sql returns."""
    worker, host, pid, queues, concurrency, running, joined_at, expires_at, retired = row
    return WorkerRecord(
        id=worker,
        host=host,
        pid=pid,
        queues=tuple(json.loads(queues)),
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
    return as_datetime(seconds) if seconds is not None else None


def state_of(text: str) -> JobState:
    """A stored state; one that there is not counts as failed."""
    return JobState(text) if text in list(JobState) else JobState.FAILED
