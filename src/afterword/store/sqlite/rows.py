"""Between rows and values: what a statement is given, and what it returns."""

import json
from typing import Any

from afterword.model.job import Delay, JobRecord, JobState, NewJob, held_fence
from afterword.model.outcome import Outcome, Released, Retry
from afterword.store import rows
from afterword.store.protocol import STOPPED, Claim, Putback, Settlement
from afterword.store.rows import INTERRUPTED, Lost, Row, Values


def new_row(job: NewJob, held_by: str | None, now: float, after_key: str | None = None) -> Values:
    """The row of a job that is added at this time.

    Args:
        after_key: of its predecessor, if that may not have been added because of it.
    """
    held = job.held and held_by is not None
    return {
        "id": job.id,
        "task": job.task,
        "arguments": job.arguments,
        "queue": job.queue,
        "priority": job.priority,
        "state": "running" if held else "queued",
        "run_at": _start(job.run_at, now),
        "attempt": int(held),
        "worker": held_by if held else None,
        "fence": held_fence(job.id) if held else None,
        "after": job.after,
        "after_key": after_key,
        "on_failure": job.on_failure,
        "request_id": job.request_id,
        "tags": json.dumps(job.tags) if job.tags else None,
        "unique_key": job.unique_key,
        "unique_ended": int(job.unique_ended),
        "limit_key": job.limit_key,
        "options": job.options,
        "now": now,
    }


def _start(run_at: float | Delay | None, now: float) -> float:
    """The time of a job's first start."""
    if isinstance(run_at, Delay):
        return now + run_at.seconds
    return now if run_at is None else run_at


def fence(claim: Claim) -> dict[str, Any]:
    """What a write that ends an attempt must match."""
    return {
        "id": claim.id,
        "attempt": claim.attempt,
        "worker": claim.worker,
        "fence": claim.fence,
    }


def release_row(putback: Putback, now: float) -> Values:
    """The values of release.sql."""
    return {**fence(putback.claim), "at": now + putback.delay, "reason": putback.reason, "now": now}


def final_row(settlement: Settlement, state: JobState, now: float) -> Values:
    """The values of finish.sql, and of the statements behind it."""
    return {
        **fence(settlement.claim),
        "state": state.value,
        "error": rows.final_error(settlement.outcome),
        "result": rows.final_result(settlement.outcome),
        "started_at": now - settlement.seconds,
        "lost": 0,
        "stopped": STOPPED,
        "now": now,
    }


def completed_row(settlement: Settlement, now: float) -> Row:
    """What complete.sql is given for each attempt."""
    claim, result = settlement.claim, rows.final_result(settlement.outcome)
    started_at = now - settlement.seconds
    return (claim.id, claim.attempt, claim.worker, claim.fence, started_at, result)


def again_row(settlement: Settlement, now: float) -> Values:
    """The values of requeue.sql."""
    outcome = settlement.outcome
    retry = outcome if isinstance(outcome, Retry) else None
    return {
        **fence(settlement.claim),
        "at": now + (retry.delay if retry else 0.0),
        "error": retry.error if retry else INTERRUPTED,
        "interrupted": int(isinstance(outcome, Released)),
        "lost": 0,
        "failures": int(retry is not None),
    }


def attempt_row(settlement: Settlement, now: float) -> Values:
    """The values of attempt.sql, of an attempt whose job goes on."""
    again = again_row(settlement, now)
    outcome = rows.attempt_outcome(settlement.outcome)
    return {**again, "outcome": outcome, "started_at": now - settlement.seconds, "now": now}


def lost_row(job: Lost, outcome: Outcome, now: float, *, lost: bool) -> Values:
    """The values of requeue.sql and attempt.sql, or of finish.sql, for a job without a worker."""
    retry = outcome if isinstance(outcome, Retry) else None
    return {
        "id": job.id,
        "attempt": job.attempt,
        "worker": job.worker,
        "fence": job.fence,
        "at": now + (retry.delay if retry else 0.0),
        "error": retry.error if retry else rows.final_error(outcome) or INTERRUPTED,
        "result": None,
        "interrupted": int(isinstance(outcome, Released)),
        "lost": int(lost),
        "failures": 0,
        "outcome": "lost" if lost else "interrupted",
        "started_at": None,
        "stopped": STOPPED,
        "now": now,
    }


def record(row: Row) -> JobRecord:
    """What get.sql and the find_ statements return; its arguments as bytes: it may be damaged."""
    job_id, task, arguments, *rest = row
    return rows.record((job_id, task, arguments.decode(errors="replace"), *rest))


def restored_row(found: JobRecord) -> Values:
    """The values of restore.sql and restore_ended.sql."""
    fields = {name: getattr(found, name) for name in rows.COLUMNS}
    return {
        **fields,
        "tags": json.dumps(found.tags) if found.tags else None,
        "state": found.state.value,
        "created_at": found.created_at.timestamp(),
        "run_at": found.run_at.timestamp(),
        "started_at": rows.maybe_timestamp(found.started_at),
        "finished_at": rows.maybe_timestamp(found.finished_at),
    }
