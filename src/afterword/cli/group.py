"""The command group `afterword`, its help and its options."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from afterword import __version__

_HELP = """Durable background tasks for FastAPI and Starlette.

\b
Examples:
  afterword demo             see that tasks survive a crash of their server
  afterword demo --json      the same for a program
  afterword dev main:app     serve an application, and run its jobs
  afterword worker main:app  run its jobs in a process of their own
  afterword status           show if the store is healthy
  afterword dashboard        show the same in a browser
  afterword failures         show failed jobs, in groups
  afterword retry --all      retry all failed jobs
"""

_ORDER = (
    *("demo", "dev", "worker"),
    *("status", "top", "dashboard", "jobs", "show", "watch", "failures"),
    *("queues", "schedules", "workers", "tasks", "audit", "metrics"),
    *("run", "retry", "cancel", "delete"),
    *("check", "doctor", "db", "prune", "export", "import"),
)


class _InOrder(TyperGroup):
    """Lists commands in our order; typer would put those with subcommands at the end."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands; `ctx` is click's."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


commands = typer.Typer(
    cls=_InOrder,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's boxes would break the lines of examples, and pipes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"afterword {__version__}")
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
    """Take the options before any command."""
