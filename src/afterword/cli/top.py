"""`afterword top`: a live view of the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from afterword.admin.duration import show_instant, show_span
from afterword.admin.failures import last_line
from afterword.admin.health import Snapshot, look_at
from afterword.admin.summary import how_it_runs
from afterword.cli import output
from afterword.cli.keyboard import Keyboard, keys
from afterword.cli.look import shown_id
from afterword.cli.options import Url, clock, opened
from afterword.cli.output import Grid, as_table
from afterword.cli.overview import status_facts, worker_grid
from afterword.cli.parsers import seconds
from afterword.cli.queues import queue_grid
from afterword.errors import StoreUnavailable
from afterword.model.clock import as_datetime
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter
from afterword.store.protocol import Store
from afterword.telemetry import printable

_LATEST = 8  # jobs per list


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The data of one screen."""

    snapshot: Snapshot
    running: Sequence[JobRecord]
    failed: Sequence[JobRecord]


def top(
    interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", parser=seconds(0.1, 3600), help="How long to wait between updates."
        ),
    ] = 2,
    url: Url = None,
) -> None:
    """Show a live view of the store; q or Ctrl-C ends it.

    Shows queues, workers, running and failed jobs, updated continuously. Without a terminal, prints
    them once.

    \b
    Examples:
      afterword top
      afterword top --interval 0.5
    """
    with opened(url) as store:
        if output.stdout.is_terminal:
            _refresh(store, interval)
        else:
            for part in _parts(store, _frame(store)):
                _print_plain(part)


def _refresh(store: Store, interval: float) -> None:
    with (
        keys() as keyboard,
        Live(console=output.stdout, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_picture(store, interval), refresh=True)
            if _quits(keyboard, interval):
                return


def _quits(keyboard: Keyboard, interval: float) -> bool:
    """Return True if q is pressed before the next update; any other key updates at once."""
    return keyboard.pressed(interval) in ("q", "Q", "\x04")


def _picture(store: Store, interval: float) -> RenderableType:
    at = show_instant(as_datetime(clock.now()))
    head = Text(f"{at}  every {interval:g} s  q quits", "dim")
    try:
        frame = _frame(store)
    except StoreUnavailable as error:  # it may come back; until then the error is shown
        return Group(head, Text(printable(str(error)), "red"))
    parts = [_rendered(part) for part in _parts(store, frame)]
    return Group(head, *(each for part in parts for each in (Text(), part)))


def _frame(store: Store) -> Frame:
    return Frame(
        snapshot=look_at(store, clock.now()),
        running=store.find(Filter(state=JobState.RUNNING), _LATEST),
        failed=store.find(Filter(state=JobState.FAILED), _LATEST),
    )


Part = Grid | list[tuple[str, str | Text]]


def _parts(store: Store, frame: Frame) -> Iterator[Part]:
    yield list(status_facts(store, frame.snapshot))
    if frame.snapshot.queues:
        yield queue_grid(frame.snapshot, _LATEST)
    if frame.snapshot.workers:
        yield worker_grid(frame.snapshot.workers[:_LATEST], frame.snapshot.now)
    if frame.running:
        yield _running_grid(frame.running, frame.snapshot.now)
    if frame.failed:
        yield _failed_grid(frame.failed, frame.snapshot.now)


def _running_grid(found: Sequence[JobRecord], now: float) -> Grid:
    headings = ("running", "for", "task", "attempt", "worker", "note")
    grid = Grid(headings, ("task", "note"), ("for", "attempt"))
    for job in found:
        since = show_span(now - job.started_at.timestamp()) if job.started_at else None
        attempt = str(job.attempt)
        grid.add(shown_id(job.id), since, job.task, attempt, job.worker, how_it_runs(job))
    return grid


def _failed_grid(found: Sequence[JobRecord], now: float) -> Grid:
    grid = Grid(("failed", "ago", "task", "error"), ("task", "error"), ("ago",))
    for job in found:
        ago = show_span(now - (job.finished_at or job.created_at).timestamp())
        grid.add(shown_id(job.id), ago, job.task, last_line(job.error))
    return grid


def _rendered(part: Part) -> RenderableType:
    return as_table(part) if isinstance(part, Grid) else output.as_facts(part)


def _print_plain(part: Part) -> None:
    if isinstance(part, Grid):
        output.stdout.print()
        output.show_grid(part)
    else:
        output.show_facts(part)
