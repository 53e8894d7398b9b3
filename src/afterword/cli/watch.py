"""`afterword watch`: one job, until it has ended."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from afterword.cli import output
from afterword.cli.document import job_document
from afterword.cli.exit_code import ExitCode, NotFound
from afterword.cli.failures import last_line
from afterword.cli.look import one, why
from afterword.cli.options import Json, Url, clock, opened
from afterword.job import JobRecord, JobState
from afterword.store import Store
from afterword.telemetry import printable

_LOOK_EVERY = 0.2  # seconds


def watch(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job's id, or 8 and more of its characters.")
    ],
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Give up after this time, with status 1."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Watch a job until it has ended.

    The exit status is 0 if it completed, else 1.

    \b
    Examples:
      afterword watch 0193e5f0-7c1a
      afterword watch 0193e5f0-7c1a --timeout 60 && echo done
    """
    with opened(url) as store:
        watch_until_final(store, one(store, job_id), timeout, json)


def watch_until_final(store: Store, job: JobRecord, timeout: float | None, json: bool) -> None:
    """Show a job until it has ended, then print how, and leave with the status that says so."""
    with _shown(job) as say:
        job, ended = _wait(store, job, timeout, say)
    if json:
        output.print_document(job_document(job))
    elif ended:
        output.stdout.print(_how(job))
    if not ended:
        output.tell(f"Not ended after {timeout:g} s; it is {job.state}.")
    if job.state is not JobState.COMPLETED:
        raise typer.Exit(ExitCode.FAILED)


def _wait(
    store: Store, job: JobRecord, timeout: float | None, say: Callable[[str], None]
) -> tuple[JobRecord, bool]:
    """The job as it was seen last, and whether it has ended by then."""
    deadline = clock.monotonic() + timeout if timeout is not None else float("inf")
    while not job.state.final:
        say(_now(store, job))
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
    return f"queued: {why(store, job)[0].partition(', ')[0]}"


def _how(job: JobRecord) -> Text:
    took = ""
    if job.started_at and job.finished_at:
        took = f" in {(job.finished_at - job.started_at).total_seconds():.3f} s"
    attempts = f", attempt {job.attempt}" if job.attempt > 1 else ""
    said = f": {printable(last_line(job.error))}" if job.error else ""
    rest = f" {printable(job.task)}{took}{attempts}{said}"
    return Text.assemble(output.styled(job.state), rest)


# ---------------------------------------------------------------------- while it runs


@contextmanager
def _shown(job: JobRecord) -> Iterator[Callable[[str], None]]:
    """What tells the person in front of the screen: a moving line, or a line per change."""
    if not output.stderr.is_terminal:
        yield _teller()
        return
    with _progress() as progress:
        bar = progress.add_task("", total=None, task=printable(job.task))
        yield lambda said: progress.update(bar, description=said)


def _teller() -> Callable[[str], None]:
    told: list[str] = []

    def tell(said: str) -> None:
        state = said.partition(":")[0]
        if told[-1:] != [state]:
            told.append(state)
            output.tell(said)

    return tell


def _progress() -> Progress:
    spinner = "dots" if output.stderr.encoding.startswith("utf") else "line"
    return Progress(
        SpinnerColumn(spinner),
        TextColumn("{task.fields[task]}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=output.stderr,
        transient=True,
    )
