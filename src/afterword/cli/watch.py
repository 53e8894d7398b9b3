"""`afterword watch`: follow one job until it has ended."""

import json as json_text
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from afterword.admin.document import job_document, readable
from afterword.admin.failures import last_line
from afterword.admin.ids import NotFound, one
from afterword.admin.progress import progress_of, share_of
from afterword.admin.summary import how_it_runs
from afterword.admin.waiting import why
from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.options import Json, Url, clock, opened
from afterword.cli.parsers import seconds
from afterword.cli.show import JobId
from afterword.model.job import JobRecord, JobState
from afterword.store.protocol import Store
from afterword.telemetry import printable

_LOOK_EVERY = 0.2  # seconds
_RESULT = 500  # characters of a result that are shown
_WIDTH = 20  # columns of the bar


def watch(
    job_id: JobId,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", parser=seconds(), help="Give up after this time, with status 1."
        ),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Watch a job until it has ended, and show its progress.

    Then prints its result or its error. The exit status is 0 if it completed or was
    handed over, else 1.

    \b
    Examples:
      afterword watch 0193e5f0-7c1a
      afterword watch 0193e5f0-7c1a --timeout 60 && echo done
    """
    with opened(url) as store:
        watch_until_final(store, one(store, job_id), timeout, json)


def watch_until_final(store: Store, job: JobRecord, timeout: float | None, json: bool) -> None:
    """Show a job until it has ended, print how it ended, and exit with that status."""
    with _shown(job) as show:
        job, ended = _wait(store, job, timeout, show)
    if json:
        output.print_document(job_document(job))
    elif ended:
        output.stdout.print(_how(job))
        if job.result is not None:
            output.stdout.print(_result(job.result))
    if not ended:
        output.tell(f"Not ended after {timeout:g} s; it is {job.state}.")
    if not job.state.succeeded:
        raise typer.Exit(ExitCode.FAILED)


Show = Callable[[JobRecord, str], None]


def _wait(
    store: Store, job: JobRecord, timeout: float | None, show: Show
) -> tuple[JobRecord, bool]:
    """Wait for the end of a job; return its last record, and False if the time ran out."""
    deadline = clock.monotonic() + timeout if timeout is not None else float("inf")
    while not job.state.final:
        show(job, _now(store, job))
        left = deadline - clock.monotonic()
        if left <= 0:
            return job, False
        time.sleep(min(_LOOK_EVERY, left))
        found = store.get([job.id])
        if not found:
            raise NotFound(f"The job {job.id} was deleted while it was watched.")
        job = found[0]
    return job, True


def _now(store: Store, job: JobRecord) -> str:
    if job.state is JobState.RUNNING:
        return f"running, attempt {job.attempt}, on worker {printable(job.worker or '?')}"
    # Without the duration, which changes all the time and would print a line per second.
    waiting = why(store, job, clock.now())
    return f"queued: {waiting[0].partition(', ')[0]}" if waiting else "queued"


def _how(job: JobRecord) -> Text:
    took = ""
    if job.started_at and job.finished_at:
        took = f" in {(job.finished_at - job.started_at).total_seconds():.3f} s"
    attempts = f", attempt {job.attempt}" if job.attempt > 1 else ""
    error = f": {printable(last_line(job.error))}" if job.error else ""
    rest = f" {printable(job.task)}{took}{attempts}{error}"
    return Text.assemble(output.styled(job.state), rest)


def _result(stored: str) -> str:
    value = readable(stored)
    text = value if isinstance(value, str) else json_text.dumps(value)
    left = len(text) - _RESULT
    more = f" ... {left:,} more characters: afterword show" if left > 0 else ""
    return printable(text[:_RESULT]) + more


# ---------------------------------------------------------------------- while it runs


@contextmanager
def _shown(job: JobRecord) -> Iterator[Show]:
    """Choose the display: a moving line in a terminal, else a line per change."""
    if not output.stderr.is_terminal:
        yield _teller()
        return
    with _moving_line() as line:
        bar = line.add_task("", total=None, task=printable(job.task), job=job)

        def show(job: JobRecord, state: str) -> None:
            line.update(bar, job=job, description=_in_short(job) or state)

        yield show


def _in_short(job: JobRecord) -> str:
    """Describe the progress of a running job, without its worker: the line is narrow."""
    how = how_it_runs(job) if job.state is JobState.RUNNING else ""
    return f"attempt {job.attempt}, {how}" if how and job.attempt > 1 else how


def _teller() -> Show:
    shown: list[tuple[str, str]] = []

    def tell(job: JobRecord, state: str) -> None:
        change = state.partition(":")[0], _stage(job)
        if shown[-1:] != [change]:
            shown.append(change)
            how = how_it_runs(job) if job.state is JobState.RUNNING else ""
            output.tell(f"{state}: {how}" if how else state)

    return tell


def _stage(job: JobRecord) -> str:
    """Return a text that changes when a new line is due: each tenth, or each message."""
    progress = progress_of(job) if job.state is JobState.RUNNING else None
    share = share_of(progress) if progress else None
    stage = str(int(share * 10)) if share is not None else progress.message if progress else ""
    return f"{job.attempt} {job.cancelling is not None} {stage}"


class _Words(TextColumn):
    """Text that is cut if the terminal is too narrow, so that the bar keeps its place."""

    def __init__(self, text: str) -> None:
        # Only columns that may wrap are made narrower; the text itself does not wrap.
        super().__init__(text, markup=False, table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        """Render the text on one line."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class _Bar(BarColumn):
    """The progress that the job reports. It can go back, when a new attempt begins."""

    def render(self, task: Task) -> ProgressBar:
        """Render a bar of the share that is done; a pulsing one if that is unknown."""
        progress = progress_of(task.fields["job"])
        share = share_of(progress) if progress else None
        return ProgressBar(
            total=1.0,
            completed=share or 0.0,
            width=_WIDTH,
            pulse=share is None,
            animation_time=task.get_time(),
        )


def _moving_line() -> Progress:
    spinner = "dots" if output.stderr.encoding.startswith("utf") else "line"
    return Progress(
        SpinnerColumn(spinner),
        _Words("{task.fields[task]}"),
        _Bar(),
        _Words("{task.description}"),
        TimeElapsedColumn(),
        console=output.stderr,
        transient=True,
    )
