"""Between rows and values: what a statement is given, and what it returns."""

from collections.abc import Mapping
from typing import Any

from afterword.clock import as_datetime
from afterword.job import Job, JobRecord, JobState
from afterword.outcome import Cancelled, Failed, Released, Retry
from afterword.store import Claim, Putback, Settlement

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
    _, job_id, attempt, worker, task, arguments, created_at = row
    text = arguments.decode(errors="replace")
    return Claim(job_id, attempt, worker, task.decode(errors="replace"), text, created_at)


def fence(claim: Claim) -> dict[str, Any]:
    """What a write that ends an attempt must match."""
    return {"id": claim.id, "attempt": claim.attempt, "worker": claim.worker}


def release_row(putback: Putback) -> Values:
    """The values of release.sql."""
    return {**fence(putback.claim), "at": putback.at or 0.0, "reason": putback.reason}


def final_row(settlement: Settlement, state: JobState, now: float) -> Values:
    """The values of finish.sql."""
    outcome = settlement.outcome
    error = outcome.error if isinstance(outcome, Failed) else None
    return {
        **fence(settlement.claim),
        "state": state,
        "error": outcome.reason if isinstance(outcome, Cancelled) else error,
        "started_at": settlement.started_at,
        "lost": 0,
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
    """What get.sql and find.sql return: a row edited by hand must not hide the others."""
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
        started_at=as_datetime(started_at) if started_at is not None else None,
        finished_at=as_datetime(finished_at) if finished_at is not None else None,
    )


def state_of(text: str) -> JobState:
    """A stored state; one that there is not counts as failed."""
    return JobState(text) if text in list(JobState) else JobState.FAILED
