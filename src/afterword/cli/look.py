"""`afterword jobs` and `failures`: lists of jobs, and groups of failed ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from afterword.admin.document import job_document
from afterword.admin.duration import show_span
from afterword.admin.failures import failure_document, parked
from afterword.admin.failures import failures as groups_of
from afterword.admin.found import every as matching
from afterword.admin.ids import known_id
from afterword.admin.summary import note_on
from afterword.admin.words import many
from afterword.cli import options, output
from afterword.cli.options import Before, Json, Url, clock, opened
from afterword.cli.output import Grid
from afterword.cli.parsers import whole
from afterword.model.failures import FailureGroup, Failures
from afterword.model.job import JobRecord, JobState

_FAILURES = 10_000  # failed jobs that are read
_WIDE = 140  # columns: a narrower terminal shows short ids
NARROW = 100  # columns: a narrower terminal shows fewer columns
_SHORT_ID = 18  # characters of an id that identify a job: milliseconds and their fraction


def jobs(
    state: options.State = None,
    task: options.Task = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    error: options.Error = None,
    since: options.Since = None,
    request: options.Request = None,
    search: options.SearchText = None,
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("N", 1, 100_000), help="List at most this many jobs."
        ),
    ] = 20,
    before: Before = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List jobs, the newest first.

    \b
    Examples:
      afterword jobs --state failed --since 1h
      afterword jobs --task app.mail:send --limit 100
      afterword jobs --tag customer:42
      afterword jobs --error "no such order" --json | jq -r .id
      afterword jobs --search 'state:failed arg.user_id:7'
    """
    with opened(url) as store:
        request = known_id(store, request)
        wanted = options.wanted(state, task, queue, tag, error, since, request, search)
        found = list(matching(store, wanted, limit, known_id(store, before)))
    if json:
        output.print_lines(map(job_document, found))
    elif found:
        output.show_grid(job_grid(found, clock.now()))
    else:
        output.tell("No job matches.")
    if len(found) == limit:
        output.tell(f"There may be more. The next page: --before {found[-1].id}")


def job_grid(found: list[JobRecord], now: float) -> Grid:
    """Make a table with a line per job."""
    headings = ("id", "state", "task", "queue", "attempt", "added", "note")
    grid = Grid(headings, ("task", "queue", "note"), ("attempt", "added"))
    for job in found:
        grid.add(
            shown_id(job.id),
            job.state,
            job.task,
            job.queue,
            str(job.attempt),
            show_span(now - job.created_at.timestamp()),
            note_on(job, now, shown_id),
        )
    return grid.without("queue", "attempt") if narrower_than(NARROW) else grid


def shown_id(job_id: str) -> str:
    """Shorten an id if the terminal is narrow."""
    return job_id[:_SHORT_ID] if narrower_than(_WIDE) else job_id


def narrower_than(columns: int) -> bool:
    """Return True if there is a terminal with fewer columns."""
    return output.stdout.is_terminal and output.stdout.width < columns


def with_room(grid: Grid, spare: Sequence[str], cut: Sequence[str] = ()) -> Grid:
    """Leave out spare columns in a narrow terminal, so that only the columns `cut` are cut.

    If there is no room even then, the flexible columns are cut.
    """
    if not narrower_than(NARROW):
        return grid
    width = output.stdout.width
    fitted = replace(grid, flexible=cut, spare=spare).fitted(width)
    return fitted if fitted.fits(width) else replace(fitted, flexible=grid.flexible)


# ---------------------------------------------------------------------- failures


def failures(
    task: options.Task = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    error: options.Error = None,
    since: options.Since = None,
    search: options.SearchText = None,
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("N", 1, 10_000), help="List at most this many groups."
        ),
    ] = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """Group failed jobs by task and error.

    Lists below them the jobs that no worker could run so far. Reads the newest 10,000 that match.
    Differences in numbers, ids and quoted text are ignored. The search `group:NAME` finds the jobs
    of a group.

    \b
    Examples:
      afterword failures
      afterword failures --since 1d --task app.mail:send
      afterword retry --all --search 'group:"KeyError: <text>"'
    """
    with opened(url) as store:
        wanted = options.wanted(None, task, queue, tag, error, since, search=search)
        failed = groups_of(store, wanted, _FAILURES, unbounded=True)
        waiting = parked(store, wanted, clock.now(), _FAILURES)
    if json:
        _print_groups(failed, JobState.FAILED, limit)
        _print_groups(waiting, JobState.QUEUED, limit)
    elif failed.groups:
        output.show_grid(_failure_grid(failed.groups[:limit], clock.now()))
    else:
        output.tell("No failed job matches.")
    if waiting.groups and not json:
        output.tell("Not failed yet, but no worker could run these jobs so far:")
        output.show_grid(_failure_grid(waiting.groups[:limit], clock.now()))
    _tell_rest(failed, limit)


def _print_groups(found: Failures, state: JobState, limit: int) -> None:
    output.print_lines(failure_document(group, state) for group in found.groups[:limit])


def _failure_grid(groups: Sequence[FailureGroup], now: float) -> Grid:
    headings = ("count", "task", "error", "first", "last", "example")
    grid = Grid(headings, ("task", "error"), ("count", "first", "last"))
    for group in groups:
        grid.add(
            f"{group.count:,}",
            group.task,
            group.error,
            show_span(now - group.first_at.timestamp()),
            show_span(now - group.last_at.timestamp()),
            shown_id(group.example),
        )
    return with_room(grid, ("first", "last", "example"))


def _tell_rest(found: Failures, limit: int) -> None:
    number = len(found.groups)
    if number > limit:
        output.tell(f"{many(number - limit, 'more group')}: --limit {number}")
    if not found.all:
        output.tell(f"Failures older than the newest {_FAILURES:,} were not read.")
