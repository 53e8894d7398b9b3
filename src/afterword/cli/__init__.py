"""The command `afterword`.

A command is a function in a module here (`look`, `act`, ...), registered in `commands`. Data goes
to stdout, messages go to stderr (`output`), and every command ends with one of the statuses of
`exit_code`.
"""

import sys

from afterword.cli.exit_code import ExitCode, exit_code_of
from afterword.errors import AfterwordError, MissingExtra
from afterword.telemetry import printable

_EXTRA = "afterword[cli]"
_PACKAGES = {"click", "rich", "typer"}


def main() -> None:
    """Run the command line, and exit."""
    try:
        _commands()
    except AfterwordError as error:
        _tell(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _tell(error: AfterwordError) -> None:
    """Each line of the message for itself: what is quoted in it must not move a cursor."""
    for line in f"afterword: {error}".splitlines():
        print(printable(line), file=sys.stderr)


def _commands() -> None:
    try:
        from afterword.cli import output
        from afterword.cli.commands import commands
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise MissingExtra("The command line", _EXTRA) from error
    output.prepare()
    commands()
