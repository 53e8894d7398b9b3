"""`afterword demo`: a server crash that loses no task."""

import importlib.util
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.parsers import whole
from afterword.errors import AfterwordError, ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from afterword.demo.live import Live
    from afterword.demo.report import Report

_SHOWN_LOST = 5


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Work in this directory, new or empty, and keep it.  [default: a temporary one]",
            file_okay=False,
        ),
    ] = None,
    answers: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("N", 10, 5_000), help="How many responses before the crash."
        ),
    ] = 300,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    dashboard: Annotated[
        bool,
        typer.Option(
            "--dashboard",
            help="Show the dashboard of a shop that goes on working; Enter kills its server.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            parser=whole("PORT", 0, 65_535),
            help="With --dashboard: its port; 0: any free one.",
        ),
    ] = 8765,
) -> None:
    """Kill a working server, and see that no task is lost.

    Starts a small FastAPI application, sends it requests that add background tasks, kills it with
    SIGKILL, starts it again on the same SQLite file, and compares the promised tasks with those
    that ran. Takes about ten seconds. The exit status is 0 only if no task was lost.

    \b
    Examples:
      afterword demo
      afterword demo --folder crash      keep the store, the ledger and the log
      afterword demo --json              the result as JSON
      afterword demo --dashboard         watch it, and kill it by hand
    """
    _require_packages()
    if dashboard and json:
        raise ConfigurationError(
            "--json prints the result of the demo, but --dashboard has none. Choose one of them."
        )
    if dashboard:
        _show_live(folder, port)
        return
    from afterword.demo.crash import Crash
    from afterword.demo.report import as_json

    with _ending_on_signals(), _workspace(folder) as workspace:
        result = Crash(workspace.path, answers, output.tell).run()
        workspace.keep = workspace.keep or not result.kept
        if json:
            output.print_json(as_json(result, workspace.path if workspace.keep else None))
        else:
            output.stdout.print(_table(result))
            output.stdout.print(_recovery(result))
        if not result.kept:
            _tell_lost(result, workspace.path)
            raise typer.Exit(ExitCode.FAILED)


def _require_packages() -> None:
    """Refuse missing packages here, rather than in the log of a server that does not start."""
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("afterword demo", "afterword[cli]")


def _show_live(folder: Path | None, port: int) -> None:
    """Serve the dashboard of a shop that works, until Ctrl-C."""
    from afterword.cli.dashboard import serve
    from afterword.demo.live import Live

    with _ending_on_signals(), _workspace(folder) as workspace:
        output.tell("Filling a store with an hour of a shop's work, and starting its server.")
        with Live(workspace.path, output.tell) as live:
            output.tell(f"Enter kills the server in the middle of its work: process {live.pid}.")
            threading.Thread(target=_kill_on_enter, args=[live], daemon=True).start()
            serve(live.store, port=port)


def _kill_on_enter(live: "Live") -> None:
    for _ in sys.stdin:
        live.kill()


# ---------------------------------------------------------------------- where it happens


@dataclass(slots=True)
class _Workspace:
    """The directory of one run, which is removed at the end unless `keep` is set."""

    path: Path
    keep: bool


@contextmanager
def _workspace(folder: Path | None) -> Iterator[_Workspace]:
    if folder is None:
        workspace = _Workspace(Path(tempfile.mkdtemp(prefix="afterword-demo-")), keep=False)
    else:
        workspace = _Workspace(_prepared(folder), keep=True)
    try:
        yield workspace
    except AfterwordError:
        workspace.keep = True  # the server's log is in it
        raise
    finally:
        if not workspace.keep:
            shutil.rmtree(workspace.path, ignore_errors=True)


def _prepared(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(f"--folder cannot be {folder}: {error.strerror}.") from error
    if used:
        raise ConfigurationError(
            f"--folder must be a new or empty directory, but there are files in {folder}."
            " Choose another."
        )
    return folder.resolve()


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Leave the `with` blocks at a signal, so that no server is left behind."""
    signals = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # Signals that `nohup` ignores stay ignored.
    unhandled = [number for number in signals if signal.getsignal(number) is signal.SIG_DFL]
    before = [(number, signal.signal(number, _end)) for number in unhandled]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # as shells expect it


# ---------------------------------------------------------------------- what is shown


def _table(result: "Report") -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(
        "answered", str(result.answered), f"requests; they promised {result.promised} tasks"
    )
    table.add_row("ran", str(result.ran), f"tasks, {result.ran_after} of them after the crash")
    for attempt, number in result.ran_again.items() or [(2, 0)]:
        table.add_row(
            "ran again", str(number), f"as attempt {attempt}; the crash took attempt {attempt - 1}"
        )
    if result.twice:
        table.add_row("twice", str(result.twice), "had just finished when the crash came")
    colour = "green" if result.kept else "red"
    table.add_row("lost", str(len(result.lost)), style=colour)
    return table


def _recovery(result: "Report") -> str:
    return (
        f"Recovery: the first task ran {result.first_after:.1f} s after the restart began,"
        f" and after {result.all_after:.1f} s all had."
    )


def _tell_lost(result: "Report", folder: Path) -> None:
    shown = "\n".join(f"  {job}" for job in result.lost[:_SHOWN_LOST])
    output.tell(f"{len(result.lost)} promised tasks did not run, for example\n{shown}")
    output.tell(f"The store, the ledger and the log are in {folder}")
