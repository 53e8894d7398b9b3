"""`afterword jobs`, `show` and `failures`: single jobs, and what became of them."""

import json as json_text
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from afterword.cli import options, output
from afterword.cli.document import document, job_document, readable_arguments
from afterword.cli.duration import show_instant, show_span
from afterword.cli.exit_code import NotFound
from afterword.cli.failures import Group, grouped, last_line
from afterword.cli.health import serves
from afterword.cli.options import Before, Json, Url, clock, opened
from afterword.cli.output import Grid, styled
from afterword.cli.pages import full_id, known_id, newest, pages
from afterword.cli.waiting import reasons
from afterword.job import JobRecord, JobState
from afterword.records import Filter
from afterword.store import Store
from afterword.telemetry import indented

_FAILURES = 10_000  # how many are looked at
_NEIGHBOURS = 20  # of one request, shown beside a job
_WIDE = 140  # columns from which a terminal gets whole ids
_NARROW = 100  # columns below which it gets only what tells jobs apart
_SHORT_ID = 18  # characters of an id that tell jobs apart: milliseconds and their fraction


def jobs(
    state: options.State = None,
    task: options.Task = None,
    queue: options.Queue = None,
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
      afterword jobs --error "no such order" --json | jq -r .id
    """
    with opened(url) as store:
        wanted = options.wanted(state, task, queue, error, since, known_id(store, request))
        found = newest(store, wanted, limit, known_id(store, before))
    if json:
        output.print_lines(map(job_document, found))
    elif found:
        output.show_grid(_job_grid(found, clock.now()))
    else:
        output.tell("No job matches.")
    if len(found) == limit:
        output.tell(f"There may be more; the next page: --before {found[-1].id}")


def _job_grid(found: list[JobRecord], now: float) -> Grid:
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
    return grid.without("queue", "attempt") if _narrower_than(_NARROW) else grid


def shown_id(job_id: str) -> str:
    """An id, or as much of its beginning as a narrow terminal has room for."""
    return job_id[:_SHORT_ID] if _narrower_than(_WIDE) else job_id


def _narrower_than(columns: int) -> bool:
    return output.stdout.is_terminal and output.stdout.width < columns


def _note(job: JobRecord, now: float) -> str:
    """What one would ask of a job in this state, in a few words."""
    if job.state is not JobState.QUEUED:
        return last_line(job.error)
    if job.after:
        return f"behind {shown_id(job.after)}"
    wait = job.run_at.timestamp() - now
    if wait > 0:
        return f"{'retrying' if job.attempt else 'starts'} in {show_span(wait)}"
    return f"due for {show_span(-wait)}"


# ---------------------------------------------------------------------- one job


def show(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job's id, or 8 and more of its characters.")
    ],
    url: Url = None,
    json: Json = False,
) -> None:
    """Show all that is known of a job, and why it is waiting.

    \b
    Examples:
      afterword show 0193e5f0-7c1a-7b2e-8d3f-0123456789ab
      afterword show 0193e5f0-7c1a
      afterword show 0193e5f0-7c1a --json | jq .arguments
    """
    with opened(url) as store:
        job = one(store, job_id)
        waiting = why(store, job)
        neighbours = _neighbours(store, job)
    if json:
        ids = [each.id for each in neighbours]
        output.print_document({**job_document(job), "waiting": waiting, "request_jobs": ids})
        return
    output.show_facts(_facts(job, waiting, clock.now()))
    _show_long("arguments", _arguments(job))
    _show_long("error", job.error if job.state is not JobState.QUEUED or job.attempt else None)
    if len(neighbours) > 1:
        output.stdout.print(Text("\njobs of the same request", "bold"))
        output.show_grid(_job_grid(neighbours, clock.now()))


def one(store: Store, typed: str) -> JobRecord:
    """The job that was asked for.

    Raises:
        NotFound: there is none.
    """
    job_id = full_id(store, typed)
    found = store.get([job_id]) if job_id else ()
    if not found:
        raise NotFound(f"There is no job {typed} in {store.url}. It may have been purged.")
    return found[0]


def why(store: Store, job: JobRecord) -> list[str]:
    """What a queued job waits for."""
    if job.state is not JobState.QUEUED:
        return []
    before = next(iter(store.get([job.after])), None) if job.after else None
    served = any(serves(worker, job.queue) for worker in store.workers())
    return reasons(job, now=clock.now(), before=before, served=served)


def _neighbours(store: Store, job: JobRecord) -> list[JobRecord]:
    if job.request_id is None:
        return []
    return newest(store, Filter(request_id=job.request_id), _NEIGHBOURS)


def _facts(job: JobRecord, waiting: list[str], now: float) -> Iterator[tuple[str, str | Text]]:
    yield "job", job.id
    yield "task", job.task
    yield "state", styled(job.state)
    yield from (("waiting", reason) for reason in waiting)
    yield "queue", job.queue + (f", priority {job.priority}" if job.priority else "")
    yield "attempt", f"{job.attempt}{_disturbances(job)}"
    yield "worker", job.worker or ""
    yield "request", job.request_id or ""
    for name, at in (
        ("added", job.created_at),
        ("due", job.run_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
    ):
        yield name, f"{show_instant(at)}{_ago(now - at.timestamp())}" if at else ""
    if job.started_at and job.finished_at:
        yield "took", f"{(job.finished_at - job.started_at).total_seconds():.3f} s"


def _disturbances(job: JobRecord) -> str:
    lost = f", {job.lost} lost with their workers" if job.lost else ""
    return lost + (f", {job.interrupted} interrupted by shutdowns" if job.interrupted else "")


def _ago(seconds: float) -> str:
    return f", {show_span(seconds)} ago" if seconds >= 0 else f", in {show_span(-seconds)}"


def _arguments(job: JobRecord) -> str:
    value = readable_arguments(job.arguments)
    return value if isinstance(value, str) else json_text.dumps(value, indent=2)


def _show_long(name: str, text: str | None) -> None:
    if text:
        output.stdout.print(Text(f"\n{name}", "bold"))
        output.stdout.print(Text(indented(text)))


# ---------------------------------------------------------------------- failures


def failures(
    task: options.Task = None,
    queue: options.Queue = None,
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
        wanted = options.wanted(JobState.FAILED, task, queue, error, since)
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
