"""One job: its state and why, its attempts, its arguments, and what can be done with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from afterword.admin.changes import CHANGES, Change
from afterword.admin.ids import newest, one
from afterword.admin.job_options import limit_of, options_in_words
from afterword.admin.summary import note_on
from afterword.admin.waiting import why
from afterword.client.call import traced
from afterword.dashboard.command import command
from afterword.dashboard.frames import Part, parts
from afterword.dashboard.jobs import done
from afterword.dashboard.rendering import short_id
from afterword.dashboard.tree import tree
from afterword.dashboard.view import Page, Redirect, View
from afterword.model.job import JobRecord, NewJob, first_id, new_id
from afterword.model.records import AttemptRecord, Filter

_NEIGHBOURS = 20  # jobs of the same request that are shown
_NEAR = 600.0  # seconds between them at most: not every store has an index for requests


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a job's way: a wait, or an attempt.

    Args:
        waited: seconds between the end of the step before and its start; None if not known.
        took: seconds; None while it runs, or if not known.
    """

    attempt: AttemptRecord
    waited: float | None
    took: float | None
    error: Sequence[Part]


def show(view: View) -> Page:
    """Show everything about a job."""
    job = one(view.store, view.path["job_id"])
    attempts = view.store.attempts(job.id)
    shown = view.shown(job)
    neighbours = _neighbours(view, job)
    return Page(
        template="job.html",
        title=f"{job.task} {short_id(job.id)}",
        live=True,
        values={
            "job": shown,
            "why": why(view.store, job, view.now),
            "steps": _steps(job, attempts),
            "arguments": tree(shown.arguments),
            "result": tree(shown.result),
            "error": parts(job.error) if job.error and job.attempt == 0 else [],
            "limit": limit_of(job),
            "options": options_in_words(job),
            "before": next(iter(view.store.get([job.after])), None) if job.after else None,
            "neighbours": neighbours,
            "notes": {each.id: note_on(each, view.now, short_id) for each in neighbours},
            "changes": _changes(view, job),
            "command": command("show", job.id),
            "run_command": _run_command(view, job),
            "copied": view.asked("copied"),
            "done": done(view),
        },
    )


def _changes(view: View, job: JobRecord) -> list[Change]:
    """Return the changes that are possible in its state."""
    every = CHANGES.values()
    return [each for each in every if view.may(each.name) and job.state in each.possible]


def _neighbours(view: View, job: JobRecord) -> list[JobRecord]:
    if job.request_id is None:
        return []
    added = job.created_at.timestamp()  # ids are made in the order of time
    wanted = Filter(request_id=job.request_id, above=first_id(added - _NEAR))
    found = newest(view.store, wanted, _NEIGHBOURS + 1, first_id(added + _NEAR))
    return [view.shown(each) for each in found if each.id != job.id][:_NEIGHBOURS]


# ---------------------------------------------------------------------- its way


def _steps(job: JobRecord, attempts: Sequence[AttemptRecord]) -> list[Step]:
    """Return the attempts, with what lay between them."""
    steps = []
    since: datetime | None = job.created_at
    for each in attempts:
        steps.append(
            Step(
                attempt=each,
                waited=_between(since, each.started_at),
                took=_between(each.started_at, each.ended_at),
                error=parts(each.error) if each.error else [],
            )
        )
        since = each.ended_at
    return steps


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


# ---------------------------------------------------------------------- a copy


def run_copy(view: View) -> Redirect:
    """Add a new job with the same task, arguments and options."""
    job = one(view.store, view.path["job_id"])
    copy = NewJob(
        id=new_id(),
        task=job.task,
        arguments=job.arguments,
        queue=job.queue,
        priority=job.priority,
        tags=job.tags,
        limit_key=job.limit_key,
        options=job.options,
    )
    view.add(traced(copy))
    return Redirect(view.url(f"/jobs/{copy.id}", copied=job.id))


def _run_command(view: View, job: JobRecord) -> str:
    """Write the command that adds the same job; empty if its arguments must not be seen."""
    if not view.may("arguments") or not _is_object(job.arguments):
        return ""
    queue = None if job.queue == "default" else job.queue
    priority = job.priority or None
    tags = [word for tag in job.tags for word in ("--tag", tag)]
    return command("run", job.task, "--json", job.arguments, *tags, queue=queue, priority=priority)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
