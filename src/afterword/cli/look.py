"""`afterword jobs` and `failures`: which jobs there are, and what went wrong."""

from itertools import islice
from typing import Annotated

import typer

from afterword.cli import options, output
from afterword.cli.document import document, job_document
from afterword.cli.duration import show_span
from afterword.cli.failures import Group, grouped, last_line
from afterword.cli.options import Before, Json, Url, clock, opened
from afterword.cli.output import Grid
from afterword.cli.pages import known_id, newest, pages
from afterword.cli.progress import in_words, progress_of
from afterword.model.job import JobRecord, JobState

_FAILURES = 10_000  # how many are looked at
_WIDE = 140  # columns from which a terminal gets whole ids
NARROW = 100  # columns below which it gets only what tells jobs apart
_SHORT_ID = 18  # characters of an id that tell jobs apart: milliseconds and their fraction


def jobs(
    state: options.State = None,
    task: options.Task = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    error: options.Error = None,
    since: options.Since = None,
    request: options.Request = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many to list at most.")] = 20,
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
    """
    with opened(url) as store:
        wanted = options.wanted(state, task, queue, tag, error, since, known_id(store, request))
        found = newest(store, wanted, limit, known_id(store, before))
    if json:
        output.print_lines(map(job_document, found))
    elif found:
        output.show_grid(job_grid(found, clock.now()))
    else:
        output.tell("No job matches.")
    if len(found) == limit:
        output.tell(f"There may be more; the next page: --before {found[-1].id}")


def job_grid(found: list[JobRecord], now: float) -> Grid:
    """A line per job."""
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
            _note(job, now),
        )
    return grid.without("queue", "attempt") if narrower_than(NARROW) else grid


def shown_id(job_id: str) -> str:
    """An id, or as much of its beginning as a narrow terminal has room for."""
    return job_id[:_SHORT_ID] if narrower_than(_WIDE) else job_id


def narrower_than(columns: int) -> bool:
    """Whether there is a terminal with fewer columns."""
    return output.stdout.is_terminal and output.stdout.width < columns


def _note(job: JobRecord, now: float) -> str:
    """What one would ask of a job in this state, in a few words."""
    if job.state is JobState.RUNNING:
        return how_it_runs(job)
    if job.state is not JobState.QUEUED:
        return last_line(job.error)
    if job.after:
        return f"behind {shown_id(job.after)}"
    wait = job.run_at.timestamp() - now
    again = f" after {output.many(job.failures, 'failure')}" if job.failures else ""
    if wait > 0:
        return f"{'retrying' if job.attempt else 'starts'} in {show_span(wait)}{again}"
    return f"due for {show_span(-wait)}{again}"


def how_it_runs(job: JobRecord) -> str:
    """That a running job was asked to end, and how far it has come; empty if neither is known."""
    asked = "" if job.cancelling is None else f"asked to end ({last_line(job.cancelling)})"
    said = progress_of(job)
    return ", ".join(filter(None, (asked, in_words(said) if said else "")))


# ---------------------------------------------------------------------- failures


def failures(
    task: options.Task = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    error: options.Error = None,
    since: options.Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many groups to list.")] = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """Group failed jobs by their task and what went wrong.

    Looks at the newest 10,000 that match. Numbers and ids in the errors do not count as a
    difference.

    \b
    Examples:
      afterword failures
      afterword failures --since 1d --task app.mail:send
      afterword retry --all --error "Connection refused"      and queue them again
    """
    with opened(url) as store:
        wanted = options.wanted(JobState.FAILED, task, queue, tag, error, since)
        found = (job for page in pages(store, wanted) for job in page)
        groups = grouped(islice(found, _FAILURES))
        more = next(found, None) is not None
    if json:
        output.print_lines(map(document, groups[:limit]))
    elif groups:
        output.show_grid(_failure_grid(groups[:limit], clock.now()))
    else:
        output.tell("No failed job matches.")
    _tell_rest(groups, limit, more)


def _failure_grid(groups: list[Group], now: float) -> Grid:
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
    return grid


def _tell_rest(groups: list[Group], limit: int, more: bool) -> None:
    if len(groups) > limit:
        output.tell(f"{output.many(len(groups) - limit, 'more group')}: --limit {len(groups)}")
    if more:
        output.tell(f"Older failures than the newest {_FAILURES:,} were not looked at.")
