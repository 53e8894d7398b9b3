"""`afterword show`: everything about one job."""

import json as json_text
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from afterword.admin.document import document, given_arguments, job_document, readable
from afterword.admin.duration import show_instant, show_span
from afterword.admin.failures import first_and_last_line
from afterword.admin.ids import newest, one
from afterword.admin.job_options import limit_of, options_in_words
from afterword.admin.progress import bar, in_words, progress_of
from afterword.admin.waiting import why
from afterword.cli import output
from afterword.cli.look import NARROW, job_grid, narrower_than
from afterword.cli.options import Json, Url, clock, opened
from afterword.cli.output import Grid, styled
from afterword.model.job import JobRecord, JobState
from afterword.model.records import AttemptRecord, Filter
from afterword.store.protocol import Store
from afterword.telemetry import indented

_NEIGHBOURS = 20  # jobs of the same request that are shown
_SHORT = 2_000  # characters of arguments, a result or a log that are shown without --full

JobId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The job's id, or its first or last 8 characters."),
]


def show(
    job_id: JobId,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Print whole arguments and results, and the whole error and log of each attempt.",
        ),
    ] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show everything about a job, and why it is waiting.

    \b
    Examples:
      afterword show 0193e5f0-7c1a-7b2e-8d3f-0123456789ab
      afterword show 456789ab --full
      afterword show 0193e5f0-7c1a --json | jq .arguments
    """
    with opened(url) as store:
        job = one(store, job_id)
        waiting = why(store, job, clock.now())
        attempts = store.attempts(job.id)
        logs = store.logs(job.id)
        neighbours = _neighbours(store, job)
    if json:
        output.print_document(_document(job, waiting, attempts, logs, neighbours))
    else:
        _show(job, waiting, attempts, logs, full=full)
        _show_neighbours(neighbours)


def _neighbours(store: Store, job: JobRecord) -> list[JobRecord]:
    if job.request_id is None:
        return []
    return newest(store, Filter(request_id=job.request_id), _NEIGHBOURS)


def _document(
    job: JobRecord,
    waiting: list[str],
    attempts: Sequence[AttemptRecord],
    logs: Mapping[int, str],
    neighbours: list[JobRecord],
) -> dict[str, Any]:
    return {
        **job_document(job),
        "waiting": waiting,
        "attempts": [{**document(each), "log": logs.get(each.attempt)} for each in attempts],
        "request_jobs": [each.id for each in neighbours],
    }


def _show(
    job: JobRecord,
    waiting: list[str],
    attempts: Sequence[AttemptRecord],
    logs: Mapping[int, str],
    *,
    full: bool,
) -> None:
    output.show_facts(_facts(job, waiting, clock.now()))
    _show_json("arguments", given_arguments(job.arguments), full)
    _show_json("result", job.result, full)
    _show_attempts(attempts)
    _show_logs(logs, full=full)
    for each in attempts if full else ():
        if each.error != job.error:
            _show_long(f"error of attempt {each.attempt}", each.error)
    _show_long("error", job.error if job.state is not JobState.QUEUED or job.attempt else None)


# ---------------------------------------------------------------------- facts in short lines


def _facts(job: JobRecord, waiting: list[str], now: float) -> Iterator[tuple[str, str | Text]]:
    yield "job", job.id
    yield "task", job.task
    yield "state", styled(job.state)
    yield from (("waiting", reason) for reason in waiting)
    yield "cancelling", _cancelling(job)
    yield "progress", _progress(job)
    yield from _options(job)
    yield "attempt", f"{job.attempt}{_disturbances(job)}"
    yield "worker", job.worker or ""
    yield "request", job.request_id or ""
    yield "trace", job.trace_id or ""
    yield from _times(job, now)


def _cancelling(job: JobRecord) -> str:
    return "" if job.cancelling is None else f"asked to end: {job.cancelling}"


def _progress(job: JobRecord) -> str:
    progress = progress_of(job)
    return " ".join(filter(None, (bar(progress), in_words(progress)))) if progress else ""


def _options(job: JobRecord) -> Iterator[tuple[str, str]]:
    yield "queue", job.queue + (f", priority {job.priority}" if job.priority else "")
    yield "tags", ", ".join(job.tags)
    yield "unique key", job.unique_key or ""
    yield "limit", limit_of(job)
    yield "options", options_in_words(job)


def _disturbances(job: JobRecord) -> str:
    counts = (
        (job.failures, "failed"),
        (job.lost, "lost with their workers"),
        (job.interrupted, "interrupted by shutdowns"),
    )
    return "".join(f", {count:,} {what}" for count, what in counts if count)


def _times(job: JobRecord, now: float) -> Iterator[tuple[str, str]]:
    ended_before = job.finished_at is not None and job.finished_at < job.run_at  # it was cancelled
    for name, at in (
        ("added", job.created_at),
        ("due", None if ended_before else job.run_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
    ):
        yield name, f"{show_instant(at)}{_ago(now - at.timestamp())}" if at else ""
    if job.started_at and job.finished_at:
        yield "took", f"{(job.finished_at - job.started_at).total_seconds():.3f} s"


def _ago(seconds: float) -> str:
    return f", {show_span(seconds)} ago" if seconds >= 0 else f", in {show_span(-seconds)}"


# ---------------------------------------------------------------------- long texts


def _show_json(name: str, text: str | None, full: bool) -> None:
    value = readable(text)
    if text is None:
        return
    shown = value if isinstance(value, str) else json_text.dumps(value, indent=2)
    if len(shown) > _SHORT and not full:
        left = len(shown) - _SHORT
        shown = f"{shown[:_SHORT]}\n... {left:,} more characters: --full shows them"
    _show_long(name, shown)


def _show_logs(logs: Mapping[int, str], *, full: bool) -> None:
    """Show the log of each attempt; without `full`, the end of the last one."""
    for attempt in sorted(logs) if full else [max(logs)] if logs else []:
        log = logs[attempt]
        hidden = 0 if full else max(0, len(log) - _SHORT)
        before = (
            f"... {hidden:,} more characters before this: --full shows them\n" if hidden else ""
        )
        _show_long(f"log of attempt {attempt}", before + log[hidden:])


def _show_long(name: str, text: str | None) -> None:
    if text:
        _show_heading(name)
        output.stdout.print(Text(indented(text)))


def _show_heading(name: str) -> None:
    output.stdout.print(Text(f"\n{name}", "bold"))


def _show_attempts(attempts: Sequence[AttemptRecord]) -> None:
    if not attempts:
        return
    _show_heading("attempts")
    grid = Grid(("attempt", "outcome", "worker", "started", "took", "error"), ("error",))
    for each in attempts:
        grid.add(
            str(each.attempt),
            each.outcome or "running",
            each.worker,
            show_instant(each.started_at) if each.started_at else None,
            _took(each),
            first_and_last_line(each.error),
        )
    output.show_grid(grid.without("worker") if narrower_than(NARROW) else grid)


def _took(attempt: AttemptRecord) -> str | None:
    if attempt.started_at is None or attempt.ended_at is None:
        return None
    return f"{(attempt.ended_at - attempt.started_at).total_seconds():.3f} s"


def _show_neighbours(neighbours: list[JobRecord]) -> None:
    if len(neighbours) > 1:
        _show_heading("jobs of the same request")
        output.show_grid(job_grid(neighbours, clock.now()))
