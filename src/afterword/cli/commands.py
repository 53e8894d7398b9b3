"""All commands, in the order in which the help lists them. A new one: a module, and a line here."""

from typing import Annotated

import typer

from afterword import __version__
from afterword.cli import output
from afterword.cli.demo import demo

_HELP = """Durable background tasks for FastAPI and Starlette.

\b
Examples:
  afterword demo             see that tasks survive a crash of their server
  afterword demo --json      the same for a program
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
