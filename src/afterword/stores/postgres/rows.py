"""Between rows and values: what a statement is given, and what it returns.

Times that this process has decided on travel as distances: the server adds them to its own clock,
the only one that all processes share.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from afterword.job import JobRecord, JobState, NewJob
from afterword.outcome import Released, Retry
from afterword.records import Filter
from afterword.store import Claim, Putback, Settlement
from afterword.stores import rows
from afterword.stores.rows import INTERRUPTED, Row, Values


def columns(names: str, given: Iterable[Sequence[Any]]) -> Values:
    """One array for each name: a statement takes any number of rows at once.

    >>> columns("ids attempts", [("a", 1), ("b", 2)])
    {'ids': ['a', 'b'], 'attempts': [1, 2]}
    """
    listed = list(given)
    return {name: [row[place] for row in listed] for place, name in enumerate(names.split())}


def new_rows(jobs: Sequence[NewJob], held_by: str | None) -> Values:
    """The values of add.sql."""
    return columns(
        "ids tasks arguments queues priorities run_ats workers afters on_failures request_ids",
        (
            (
                job.id,
                job.task,
                job.arguments,
                job.queue,
                job.priority,
                job.run_at,
                held_by if job.held else None,
                job.after,
                job.on_failure,
                job.request_id,
            )
            for job in jobs
        ),
    )


def claim_of(row: Row) -> Claim:
    """What claim.sql returns, behind the three columns that it is sorted by."""
    return Claim(*row[3:])


def release_rows(putbacks: Sequence[Putback], now: float) -> Values:
    """The values of release.sql."""
    return columns(
        "ids attempts workers delays reasons",
        ((*fence(each.claim), _distance(each.at, now), each.reason) for each in putbacks),
    )


def fence(claim: Claim) -> tuple[str, int, str]:
    """What a write that ends an attempt must match."""
    return claim.id, claim.attempt, claim.worker


def final_rows(settlements: Sequence[tuple[Settlement, JobState]], now: float) -> Values:
    """The values of finish.sql."""
    return columns(
        "ids attempts workers states errors ages lost",
        (
            (
                *fence(each.claim),
                state.value,
                rows.final_error(each.outcome),
                max(0.0, now - each.started_at),
                0,
            )
            for each, state in settlements
        ),
    )


def again_rows(settlements: Sequence[Settlement], now: float) -> Values:
    """The values of requeue.sql."""
    return columns(
        "ids attempts workers delays errors interrupted lost",
        (
            (
                *fence(each.claim),
                _distance(retry.at, now) if retry else None,
                retry.error if retry else INTERRUPTED,
                int(isinstance(each.outcome, Released)),
                0,
            )
            for each in settlements
            for retry in [each.outcome if isinstance(each.outcome, Retry) else None]
        ),
    )


def _distance(at: float | None, now: float) -> float | None:
    """Seconds from now on; None: at once."""
    return None if at is None else max(0.0, at - now)


# ---------------------------------------------------------------------- for people


def restored_rows(records: Sequence[JobRecord]) -> Values:
    """The values of restore_unfinished.sql and restore_ended.sql."""
    names = (
        "ids tasks arguments queues priorities states run_ats attempts lost interrupted workers"
        " afters on_failures request_ids errors created_ats started_ats finished_ats"
    )
    return columns(
        names,
        (
            (
                each.id,
                each.task,
                each.arguments,
                each.queue,
                each.priority,
                each.state.value,
                each.run_at.timestamp(),
                each.attempt,
                each.lost,
                each.interrupted,
                each.worker,
                each.after,
                each.on_failure,
                each.request_id,
                each.error,
                each.created_at.timestamp(),
                rows.maybe_timestamp(each.started_at),
                rows.maybe_timestamp(each.finished_at),
            )
            for each in records
        ),
    )


# What a filter's fields mean in SQL. `state` is not among them: it decides where to look.
_CONDITIONS = {
    "task": "job.task = :task",
    "queue": "job.queue = :queue",
    "worker": "job.worker = :worker",
    "request_id": "job.request_id = :request_id",
    "error": "position(CAST(:error AS text) IN job.error) > 0",
    # By id as well, which is made before the job is added: so the search knows where to end.
    "since": "job.created_at >= to_timestamp(:since) AND job.id >= CAST(:first_id AS uuid)",
}


def conditions(wanted: Filter, state: JobState | None) -> str:
    """The condition of a filter; what is not asked for is not in it, so that indexes are used."""
    found = [text for name, text in _CONDITIONS.items() if getattr(wanted, name) is not None]
    if state is not None:
        found.append(f"job.state = '{state.value}'")
    if state in (JobState.FAILED, JobState.CANCELLED):
        found.append("job.state <> 'completed'")  # as the index says it
    return " AND ".join(found) or "true"


def filter_values(wanted: Filter) -> dict[str, Any]:
    """The values of its condition."""
    values = {name: getattr(wanted, name) for name in _CONDITIONS}
    values["first_id"] = rows.first_id_since(wanted)
    return {name: value for name, value in values.items() if value is not None}


def uuids(ids: Iterable[str]) -> list[str]:
    """Those that can be the id of a job: the server would refuse the others with an error."""
    return [each for each in ids if _is_uuid(each)]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
