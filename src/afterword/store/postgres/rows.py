"""Return the values of statements: one array for each column.

A time that this process decides on is sent as a number of seconds: the server adds it to its own
clock, the only one that all processes share.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from afterword.model.job import Delay, JobRecord, JobState, NewJob, held_fence
from afterword.model.outcome import Outcome, Released, RetryAt
from afterword.model.records import Filter
from afterword.store import parts, records
from afterword.store.parts import INTERRUPTED, Fence, Lost, Values, fence_of
from afterword.store.protocol import Putback, Recovered, Report, Settlement


def columns(names: str, given: Iterable[Sequence[Any]]) -> Values:
    """Make one array for each name: a statement takes any number of rows at once.

    >>> columns("ids attempts", [("a", 1), ("b", 2)])
    {'ids': ['a', 'b'], 'attempts': [1, 2]}
    """
    listed = list(given)
    return {name: [row[place] for row in listed] for place, name in enumerate(names.split())}


def new_rows(jobs: Sequence[NewJob], held_by: str | None) -> Values:
    """Return the values of add.sql and present.sql."""
    names = (
        "ids tasks arguments queues priorities run_ats delayed workers fences afters on_failures"
        " request_ids tags unique_keys unique_ended limit_keys options"
    )
    return columns(
        names,
        (
            (
                job.id,
                job.task,
                job.arguments,
                job.queue,
                job.priority,
                job.run_at.seconds if isinstance(job.run_at, Delay) else job.run_at,
                isinstance(job.run_at, Delay),
                held_by if job.held else None,
                held_fence(job.id) if job.held and held_by else None,
                job.after,
                job.on_failure,
                job.request_id,
                _tags(job.tags),
                job.unique_key,
                job.unique_ended,
                job.limit_key,
                job.options,
            )
            for job in jobs
        ),
    )


def _tags(tags: Sequence[str]) -> str | None:
    """A job's tags for a statement, which takes no arrays of arrays."""
    return json.dumps(tags) if tags else None


def release_rows(putbacks: Sequence[Putback]) -> Values:
    """Return the values of release.sql."""
    return columns(
        "ids attempts workers fences delays reasons",
        ((*fence_of(each.claim), each.delay, each.reason) for each in putbacks),
    )


def log_rows(settlements: Sequence[Settlement]) -> Values:
    """Return the values of keep_logs.sql."""
    return columns(
        "ids attempts logs",
        ((each.claim.id, each.claim.attempt, each.log) for each in settlements),
    )


def report_rows(reports: Sequence[Report]) -> Values:
    """Return the values of report.sql."""
    return columns(
        "ids attempts workers fences progress",
        ((*fence_of(each.claim), each.progress) for each in reports),
    )


_FINAL = "ids attempts workers fences states errors results ages lost"
_AGAIN = "ids attempts workers fences delays errors interrupted lost failures"
_ATTEMPTS = "ids attempts workers fences outcomes errors ages"


def final_rows(settlements: Sequence[tuple[Settlement, JobState]]) -> Values:
    """Return the values of finish.sql."""
    return columns(
        _FINAL,
        (
            (
                *fence_of(each.claim),
                state.value,
                parts.final_error(each.outcome),
                parts.final_result(each.outcome),
                each.seconds,
                0,
            )
            for each, state in settlements
        ),
    )


def again_rows(settlements: Sequence[Settlement]) -> Values:
    """Return the values of requeue.sql."""
    return columns(
        _AGAIN,
        (
            (
                *fence_of(each.claim),
                retry.delay if retry else None,
                retry.error if retry else INTERRUPTED,
                int(isinstance(each.outcome, Released)),
                0,
                int(retry is not None),
            )
            for each in settlements
            for retry in [_retry(each.outcome)]
        ),
    )


def attempt_rows(settlements: Sequence[Settlement]) -> Values:
    """Return the values of attempt.sql, for attempts whose jobs go on."""
    return columns(
        _ATTEMPTS,
        (
            (
                *fence_of(each.claim),
                parts.attempt_outcome(each.outcome),
                retry.error if retry else INTERRUPTED,
                each.seconds,
            )
            for each in settlements
            for retry in [_retry(each.outcome)]
        ),
    )


def _retry(outcome: Outcome) -> RetryAt | None:
    return outcome if isinstance(outcome, RetryAt) else None


# ---------------------------------------------------------------------- lost workers


@dataclass(frozen=True, slots=True)
class Fate:
    """The end of a lost job's attempt. `lost` is False if its worker was shutting down."""

    job: Lost
    outcome: Outcome
    lost: bool

    @property
    def state(self) -> JobState:
        """The state it is in then."""
        return parts.final_state(self.outcome) or JobState.QUEUED

    @property
    def fence(self) -> Fence:
        """Its last claim."""
        return self.job.id, self.job.attempt, self.job.worker, self.job.fence

    @property
    def error(self) -> str:
        """The error to keep of it."""
        retry = _retry(self.outcome)
        return retry.error if retry else parts.final_error(self.outcome) or INTERRUPTED

    @property
    def recovered(self) -> Recovered:
        """The answer of `recover` for it."""
        job = self.job
        return Recovered(
            job.id, job.task, job.attempt, job.worker, job.lost + self.lost, self.state
        )


def lost_final_rows(fates: Sequence[Fate]) -> Values:
    """Return the values of finish.sql for jobs that are not to be run again."""
    return columns(
        _FINAL,
        ((*each.fence, each.state.value, each.error, None, None, int(each.lost)) for each in fates),
    )


def lost_again_rows(fates: Sequence[Fate]) -> Values:
    """Return the values of requeue.sql for the others."""
    return columns(
        _AGAIN,
        (
            (
                *each.fence,
                retry.delay if retry else None,
                each.error,
                int(isinstance(each.outcome, Released)),
                int(each.lost),
                0,
            )
            for each in fates
            for retry in [_retry(each.outcome)]
        ),
    )


def lost_attempt_rows(fates: Sequence[Fate]) -> Values:
    """Return the values of attempt.sql for them."""
    return columns(
        _ATTEMPTS,
        ((*each.fence, "lost" if each.lost else "interrupted", each.error, None) for each in fates),
    )


# ---------------------------------------------------------------------- for people


def restored_rows(jobs: Sequence[JobRecord]) -> Values:
    """Return the values of restore_unfinished.sql and restore_ended.sql."""
    names = (
        "ids tasks arguments queues priorities states run_ats attempts lost interrupted workers"
        " afters on_failures request_ids errors tags unique_keys limit_keys options failures"
        " progress results created_ats started_ats finished_ats"
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
                _tags(each.tags),
                each.unique_key,
                each.limit_key,
                each.options,
                each.failures,
                each.progress,
                each.result,
                each.created_at.timestamp(),
                records.maybe_timestamp(each.started_at),
                records.maybe_timestamp(each.finished_at),
            )
            for each in jobs
        ),
    )


# The conditions of a filter's fields. `state` is not among them: it decides where to look.
_CONDITIONS = {
    "task": "job.task = :task",
    "queue": "job.queue = :queue",
    "worker": "job.worker = :worker",
    "request_id": "job.request_id = :request_id",
    "tag": "CAST(:tag AS text) = ANY (job.tags)",
    "tenant": "CAST(:tenant AS text) = ANY (job.tags)",
    "error": "position(CAST(:error AS text) IN job.error) > 0 AND job.state <> 'running'",
    # By id as well, which is made before the job is added: so the search knows where to end.
    "since": "job.created_at >= to_timestamp(:since) AND job.id >= CAST(:first_id AS uuid)",
    "until": "job.created_at < to_timestamp(:until) AND job.id < CAST(:last_id AS uuid)",
    "parked": "job.parked_at IS NOT NULL",
    "above": "job.id > CAST(:above AS uuid)",
}


def conditions(wanted: Filter, state: JobState | None) -> str:
    """Return the condition of a filter, without the fields that are not asked for: indexes help."""
    found = [text for name, text in _CONDITIONS.items() if getattr(wanted, name) is not None]
    if state is not None:
        found.append(f"job.state = '{state.value}'")
    if state is not None and state.final and state is not JobState.COMPLETED:
        found.append("job.state <> 'completed'")  # as the index says it
    return " AND ".join(found) or "true"


def filter_values(wanted: Filter) -> dict[str, Any]:
    """Return the values of its condition."""
    values = {name: getattr(wanted, name) for name in _CONDITIONS}
    values["first_id"] = records.first_id_since(wanted)
    values["last_id"] = records.last_id_until(wanted)
    return {name: value for name, value in values.items() if value is not None}


def uuids(ids: Iterable[str]) -> list[str]:
    """Return those that can be the id of a job: the server would refuse the others."""
    return [each for each in ids if _is_uuid(each)]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
