"""`afterword worker`: a process that runs the jobs which web processes store.

Without `--processes` and `--reload` the worker runs in this process. With them, this process
supervises such workers, each started with the same command line and a lifeline.
"""

import logging
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from afterword.cli import print_error, worker_process
from afterword.cli.discovery import Target, locate
from afterword.cli.parsers import one_of, seconds, whole
from afterword.errors import MissingExtra
from afterword.process import supervisor

logger = logging.getLogger("afterword")

_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(message)s"


class LogLevel(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


App = Annotated[
    str | None,
    typer.Argument(
        metavar="APP",
        help="module:app, or a path such as app/main.py.  [default: AFTERWORD_APP, or app in"
        " [tool.afterword] or entrypoint in [tool.fastapi] of pyproject.toml, or main.py, app.py,"
        " api.py, also in app/]",
        show_default=False,
    ),
]


def worker(
    app: App = None,
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queues", "-q", metavar="NAMES", help="Queues to serve: mail,reports, or repeated."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole("N", 1, 10_000),
            help="How many attempts may run at the same time, in each process.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("N", 1, 1_000), help="How many worker processes to run."
        ),
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart when the source changes.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            parser=seconds(),
            help="How long a shutdown waits for running attempts.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            metavar="LEVEL",
            parser=one_of("LEVEL", LogLevel),
            autocompletion=lambda: [*LogLevel],
            help=f"Log this level and those above it: {', '.join(LogLevel)}.",
        ),
    ] = None,
    lifeline: Annotated[bool, typer.Option("--lifeline", hidden=True)] = False,
) -> None:
    """Run the jobs of an application, without its web server.

    Imports the application and runs its lifespan, so that its tasks can use the pools and clients
    of its start-up. Options that are not given here are the application's.

    SIGTERM or Ctrl-C ends the worker: it claims no more jobs, running attempts may finish within
    `--grace`, and the others are released. A second Ctrl-C ends it at once. The exit status is 0
    after a clean drain.

    \b
    Examples:
      afterword worker main:app
      afterword worker main:app --queues mail,reports --concurrency 10
      afterword worker main:app --processes 4
      afterword worker app/main.py --reload
    """
    names = _split(queues)
    level = str(log_level.value) if log_level else None
    if processes == 1 and not reload:
        options = worker_process.Options(names, concurrency, grace, lifeline)
        raise typer.Exit(worker_process.run(app, options, lambda: configure_logging(level)))
    target = locate(app)
    configure_logging(level)
    command = _command(app, names, concurrency, grace, level)
    parent = supervisor.Supervisor(
        command,
        processes,
        tell=logger.info,
        tell_error=print_error,
        reload=reload,
        grace=supervisor.DEFAULT_GRACE if grace is None else grace,
    )
    if reload:
        _watch(target, parent)
    raise typer.Exit(parent.run())


def _split(queues: Sequence[str] | None) -> list[str] | None:
    if not queues:
        return None
    return [name.strip() for names in queues for name in names.split(",")]


def _command(
    app: str | None,
    queues: Sequence[str] | None,
    concurrency: int | None,
    grace: float | None,
    level: str | None,
) -> list[str]:
    """Build the command line of a child."""
    options = {
        "--queues": ",".join(queues) if queues else None,
        "--concurrency": concurrency,
        "--grace": grace,
        "--log-level": level,
    }
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    named = ["--", app] if app is not None else []
    return [sys.executable, "-m", "afterword", "worker", "--lifeline", *given, *named]


def configure_logging(level: str | None) -> None:
    """Log to stderr, unless the application has configured logging itself."""
    if level is not None:
        logger.setLevel(level.upper())
    if not logger.hasHandlers():
        logging.basicConfig(level=(level or LogLevel.INFO).upper(), format=_FORMAT)


def _watch(target: Target, parent: "supervisor.Supervisor") -> None:
    """Tell the supervisor of every change of a Python file in the application's folder."""
    try:
        import watchfiles
    except ModuleNotFoundError as error:
        raise MissingExtra("afterword worker --reload", "afterword[cli]") from error

    def watch() -> None:
        for changes in watchfiles.watch(target.folder, watch_filter=watchfiles.PythonFilter()):
            parent.changed(min(path for _, path in changes))

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # its INFO lines would repeat ours
    threading.Thread(target=watch, name="afterword-reload", daemon=True).start()
