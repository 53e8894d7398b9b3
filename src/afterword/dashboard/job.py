"""The screen of a job: its state and the reason, its attempts with logs, arguments, changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from afterword.admin.changes import CHANGES, Change
from afterword.admin.ids import newest, one
from afterword.admin.job_options import limit_of, options_in_words
from afterword.admin.summary import note_on
from afterword.admin.waiting import why
from afterword.dashboard.command import command
from afterword.dashboard.copy import copies_of
from afterword.dashboard.frames import Part, parts
from afterword.dashboard.jobs import done, id_in
from afterword.dashboard.rendering import short_id
from afterword.dashboard.tree import tree
from afterword.dashboard.view import Page, View
from afterword.model.job import JobRecord, first_id
from afterword.model.records import AttemptRecord, Filter

_NEIGHBOURS = 20  # jobs of the same request that are shown
_ADDED = {
    "added": "Added.",
    "met": "Not added: this job with the same unique key has not ended.",
}
_NEAR = 600.0  # seconds between them at most: not every store has an index for requests


@dataclass(frozen=True, slots=True)
class Step:
    """A step in the life of a job: a wait, or an attempt.

    Args:
        waited: seconds between the end of the step before and its start; None if not known.
        took: seconds; None while it runs, or if not known.
        log: the lines that loggers wrote during the attempt, if they were kept.
    """

    attempt: AttemptRecord
    waited: float | None
    took: float | None
    error: Sequence[Part]
    log: str = ""


def show(view: View) -> Page:
    """Show everything about a job."""
    job = one(view.store, view.path["job_id"])
    attempts = view.store.attempts(job.id)
    logs = view.store.logs(job.id) if view.may("arguments") else {}
    shown = view.shown(job)
    neighbours = _neighbours(view, job)
    return Page(
        template="job.html",
        title=f"{job.task} {short_id(job.id)}",
        live=True,
        values={
            "job": shown,
            "why": why(view.store, job, view.now),
            "steps": _steps(job, attempts, logs),
            "arguments": tree(shown.arguments),
            "result": tree(shown.result),
            "error": parts(job.error) if job.error and job.attempt == 0 else [],
            "trace_id": job.trace_id,
            "trace_url": _trace_url(view, job),
            "limit": limit_of(job),
            "options": options_in_words(job),
            "before": next(iter(view.store.get([job.after])), None) if job.after else None,
            "neighbours": neighbours,
            "notes": {each.id: note_on(each, view.now, short_id) for each in neighbours},
            "changes": _changes(view, job),
            "command": command("show", job.id),
            "copies": copies_of(job) if view.may("arguments") else {},
            "copied": id_in(view, "copied"),
            "added": _ADDED.get(view.asked("run"), ""),
            "done": done(view),
        },
    )


def _changes(view: View, job: JobRecord) -> list[Change]:
    """Return the changes that are possible in its state."""
    every = CHANGES.values()
    return [each for each in every if view.may(each.name) and job.state in each.possible]


def _trace_url(view: View, job: JobRecord) -> str:
    return view.trace_url.replace("{trace_id}", job.trace_id or "") if job.trace_id else ""


def _neighbours(view: View, job: JobRecord) -> list[JobRecord]:
    if job.request_id is None:
        return []
    added = job.created_at.timestamp()  # ids are made in the order of time
    wanted = Filter(request_id=job.request_id, above=first_id(added - _NEAR))
    found = newest(view.store, wanted, _NEIGHBOURS + 1, first_id(added + _NEAR))
    return [view.shown(each) for each in found if each.id != job.id][:_NEIGHBOURS]


# ---------------------------------------------------------------------- its attempts


def _steps(
    job: JobRecord, attempts: Sequence[AttemptRecord], logs: Mapping[int, str]
) -> list[Step]:
    """Return the attempts, and the waits between them."""
    steps = []
    since: datetime | None = job.created_at
    for each in attempts:
        steps.append(
            Step(
                attempt=each,
                waited=_between(since, each.started_at),
                took=_between(each.started_at, each.ended_at),
                error=parts(each.error) if each.error else [],
                log=logs.get(each.attempt, ""),
            )
        )
        since = each.ended_at
    return steps


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())
