"""All commands, in the order in which the help lists them. A new one: a module, and a line here."""

from typing import Annotated

import typer

from afterword import __version__
from afterword.cli import output
from afterword.cli.act import cancel, delete, retry
from afterword.cli.check import check
from afterword.cli.demo import demo
from afterword.cli.dev import dev
from afterword.cli.doctor import doctor
from afterword.cli.look import failures, jobs, show
from afterword.cli.maintain import database, prune
from afterword.cli.overview import queues, status, tasks, workers
from afterword.cli.run import run
from afterword.cli.top import top
from afterword.cli.transfer import export, import_
from afterword.cli.watch import watch
from afterword.cli.worker import worker

_HELP = """Durable background tasks for FastAPI and Starlette.

\b
Examples:
  afterword demo             see that tasks survive a crash of their server
  afterword demo --json      the same for a program
  afterword dev main:app     serve an application, and work for it
  afterword worker main:app  work for it in a process of its own
  afterword status           whether all is well
  afterword failures         what went wrong, grouped
  afterword retry --all      and try it again
"""

commands = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,  # its boxes break examples in lines of their own, and pipes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.stdout.print(f"afterword {__version__}")
        raise typer.Exit


@commands.callback()
def _afterword(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    """The options that come before any command."""


commands.command(name="demo")(demo)
commands.command(name="dev")(dev)
commands.command(name="worker")(worker)
# Look.
commands.command(name="status")(status)
commands.command(name="top")(top)
commands.command(name="jobs")(jobs)
commands.command(name="show")(show)
commands.command(name="watch")(watch)
commands.command(name="failures")(failures)
commands.command(name="queues")(queues)
commands.command(name="workers")(workers)
commands.command(name="tasks")(tasks)
# Act.
commands.command(name="run")(run)
commands.command(name="retry")(retry)
commands.command(name="cancel")(cancel)
commands.command(name="delete")(delete)
# Operate.
commands.command(name="check")(check)
commands.command(name="doctor")(doctor)
commands.add_typer(database, name="db")
commands.command(name="prune")(prune)
commands.command(name="export")(export)
commands.command(name="import")(import_)
