"""All commands, in the order in which the help lists them.

A new one is a module, and two lines here.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from afterword import __version__
from afterword.cli import output
from afterword.cli.act import cancel, delete, retry
from afterword.cli.check import check
from afterword.cli.demo import demo
from afterword.cli.dev import dev
from afterword.cli.doctor import doctor
from afterword.cli.look import failures, jobs
from afterword.cli.maintain import database, prune
from afterword.cli.overview import status, tasks, workers
from afterword.cli.queues import queues
from afterword.cli.run import run
from afterword.cli.schedules import schedules
from afterword.cli.show import show
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

_ORDER = (
    *("demo", "dev", "worker"),
    *("status", "top", "jobs", "show", "watch", "failures"),
    *("queues", "schedules", "workers", "tasks"),
    *("run", "retry", "cancel", "delete"),
    *("check", "doctor", "db", "prune", "export", "import"),
)


class _InOrder(TyperGroup):
    """Lists commands in our order: typer's own has those with commands below them at the end."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All of them; `ctx` is click's."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


commands = typer.Typer(
    cls=_InOrder,
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
commands.add_typer(queues, name="queues")
commands.add_typer(schedules, name="schedules")
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
