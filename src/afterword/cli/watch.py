"""`afterword watch`: one job, until it has ended."""

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

from afterword.cli import output
from afterword.cli.document import job_document, readable
from afterword.cli.exit_code import ExitCode, NotFound
from afterword.cli.failures import last_line
from afterword.cli.look import how_it_runs
from afterword.cli.options import Json, Url, clock, opened
from afterword.cli.pages import one
from afterword.cli.progress import progress_of, share_of
from afterword.cli.show import JobId
from afterword.cli.waiting import why
from afterword.model.job import JobRecord, JobState
from afterword.store.protocol import Store
from afterword.telemetry import printable

_LOOK_EVERY = 0.2  # seconds
_RESULT = 500  # characters of it that are shown
_WIDTH = 20  # columns of the bar


def watch(
    job_id: JobId,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Give up after this time, with status 1."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Watch a job until it has ended, and show how far it is.

    Then its result or its error is printed. The exit status is 0 if it completed, else 1.

    \b
    Examples:
      afterword watch 0193e5f0-7c1a
      afterword watch 0193e5f0-7c1a --timeout 60 && echo done
    """
    with opened(url) as store:
        watch_until_final(store, one(store, job_id), timeout, json)


def watch_until_final(store: Store, job: JobRecord, timeout: float | None, json: bool) -> None:
    """Show a job until it has ended, then print how, and leave with the status that says so."""
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
    if job.state is not JobState.COMPLETED:
        raise typer.Exit(ExitCode.FAILED)


Show = Callable[[JobRecord, str], None]


def _wait(
    store: Store, job: JobRecord, timeout: float | None, show: Show
) -> tuple[JobRecord, bool]:
    """The job as it was seen last, and whether it has ended by then."""
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
    # Without how long it is: a line per second would hide the ones that matter.
    waiting = why(store, job, clock.now())
    return f"queued: {waiting[0].partition(', ')[0]}" if waiting else "queued"


def _how(job: JobRecord) -> Text:
    took = ""
    if job.started_at and job.finished_at:
        took = f" in {(job.finished_at - job.started_at).total_seconds():.3f} s"
    attempts = f", attempt {job.attempt}" if job.attempt > 1 else ""
    said = f": {printable(last_line(job.error))}" if job.error else ""
    rest = f" {printable(job.task)}{took}{attempts}{said}"
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
    """What tells the person in front of the screen: a moving line, or a line per change."""
    if not output.stderr.is_terminal:
        yield _teller()
        return
    with _moving_line() as line:
        bar = line.add_task("", total=None, task=printable(job.task), job=job)

        def show(job: JobRecord, said: str) -> None:
            line.update(bar, job=job, description=_in_short(job) or said)

        yield show


def _in_short(job: JobRecord) -> str:
    """How far a running job is: a narrow line has no room for where it runs beside it."""
    how = how_it_runs(job) if job.state is JobState.RUNNING else ""
    return f"attempt {job.attempt}, {how}" if how and job.attempt > 1 else how


def _teller() -> Show:
    told: list[tuple[str, str]] = []

    def tell(job: JobRecord, said: str) -> None:
        change = said.partition(":")[0], _stage(job)
        if told[-1:] != [change]:
            told.append(change)
            how = how_it_runs(job) if job.state is JobState.RUNNING else ""
            output.tell(f"{said}: {how}" if how else said)

    return tell


def _stage(job: JobRecord) -> str:
    """What is worth a line when it changes: each tenth, or the message where there is no total."""
    said = progress_of(job) if job.state is JobState.RUNNING else None
    share = share_of(said) if said else None
    stage = "" if said is None else said.message if share is None else str(int(share * 10))
    return f"{job.attempt} {job.cancelling is not None} {stage}"


class _Words(TextColumn):
    """Text that is cut where a terminal is too narrow, so that the bar keeps its place."""

    def __init__(self, text: str) -> None:
        # Only a column that may wrap is made narrower; the text in it does not.
        super().__init__(text, markup=False, table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        """One line."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class _Bar(BarColumn):
    """How far a job is by its own account, which can go back: an attempt begins anew."""

    def render(self, task: Task) -> ProgressBar:
        """A bar of the share that is done; one that only moves if nobody knows."""
        said = progress_of(task.fields["job"])
        share = share_of(said) if said else None
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
