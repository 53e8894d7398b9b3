"""Failures, grouped by task and error.

Two failures belong to the same group if their tasks are the same, and the last lines of their
errors differ at most in numbers, addresses and ids.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from afterword.model.failures import without_ids
from afterword.model.job import JobRecord, JobState

_LINE_LIMIT = 300  # characters: more would only separate similar errors
_HEADER = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of failures; `example` is the id of the latest one.

    `state` is "queued" for jobs that no worker could run so far; they count from that time.
    """

    task: str
    error: str
    count: int
    first_at: datetime
    last_at: datetime
    example: str
    state: JobState = JobState.FAILED


def last_line(error: str | None) -> str:
    """Return the last line that is not empty; in a traceback, the exception.

    >>> last_line("Traceback ...\\nValueError: no such order\\n\\n")
    'ValueError: no such order'
    """
    lines = [line.strip() for line in (error or "").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def first_and_last_line(error: str | None) -> str:
    """Summarize an error on one line; the header of a traceback is left out.

    >>> first_and_last_line("Traceback (most recent call last):\\n  in pack\\nValueError: no")
    'ValueError: no'
    >>> first_and_last_line("the parcel is lost:\\nit was here\\nask the post office")
    'the parcel is lost: ... ask the post office'
    """
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    first, last = (lines[0], lines[-1]) if lines else ("", "")
    return last if first in (last, _HEADER) else f"{first} ... {last}"


def normalized(line: str) -> str:
    """Replace the parts of a line that differ from job to job.

    >>> normalized("KeyError: order 4711 of 0193e5f0-7c1a-7b2e-8d3f-0123456789ab at 0x7f3a")
    'KeyError: order # of <uuid> at <hex>'
    """
    return without_ids(line[:_LINE_LIMIT])


def grouped(failures: Iterable[JobRecord]) -> list[Group]:
    """Group failed jobs; the largest group comes first, then the latest."""
    groups: dict[tuple[str, str], Group] = {}
    for job in failures:
        one = _group_of_one(job)
        known = groups.get((one.task, one.error))
        groups[one.task, one.error] = _joined(known, one) if known else one
    return sorted(groups.values(), key=lambda group: (-group.count, -group.last_at.timestamp()))


def _group_of_one(job: JobRecord) -> Group:
    at = job.parked_at or job.finished_at or job.created_at
    return Group(
        task=job.task,
        error=normalized(last_line(job.error)),
        count=1,
        first_at=at,
        last_at=at,
        example=job.id,
        state=job.state,
    )


def _joined(group: Group, one: Group) -> Group:
    latest = one if one.last_at > group.last_at else group
    return replace(
        group,
        count=group.count + one.count,
        first_at=min(group.first_at, one.first_at),
        last_at=latest.last_at,
        example=latest.example,
    )
