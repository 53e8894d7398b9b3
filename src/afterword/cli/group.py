"""What all commands belong to: `afterword` itself, its help and its options."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from afterword import __version__

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
    """The options that come before any command."""
