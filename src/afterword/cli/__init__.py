"""The command `afterword`.

A command is a function in a module here (`look`, `act`, ...), registered in `commands`. Data goes
to stdout, messages go to stderr (`output`), and every command ends with one of the statuses of
`exit_code`.
"""

import os
import sys
from typing import TYPE_CHECKING, TextIO

from afterword.cli.exit_code import ExitCode, exit_code_of
from afterword.errors import AfterwordError, MissingExtra
from afterword.process import lifeline
from afterword.telemetry import printable

if TYPE_CHECKING:
    import typer

_EXTRA = "afterword[cli]"
_PACKAGES = {"click", "rich", "typer"}


def main() -> None:
    """Run the command line, and exit."""
    try:
        _commands()
    except AfterwordError as error:
        code = exit_code_of(error)
        # All processes of a worker have the same error, so their parent prints it once.
        if code is not ExitCode.USAGE or not lifeline.report(error=str(error)):
            print_error(str(error))
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def print_error(error: str) -> None:
    """Print a message line by line, escaped: quoted text must not move the cursor."""
    for line in f"afterword: {error}".splitlines():
        print(printable(line), file=sys.stderr)


def _commands() -> None:
    try:
        commands = _worker() if sys.argv[1:2] == ["worker"] else _all()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise MissingExtra("The command line", _EXTRA) from error
    _prepare_streams()
    commands()


def _prepare_streams() -> None:
    """Make output possible on every stream, including ASCII terminals and closed ones."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _worker() -> "typer.Typer":
    """Import only the command `worker`: it runs for weeks, so it must not hold the others' code."""
    from afterword.cli.group import commands
    from afterword.cli.worker import worker

    commands.command(name="worker")(worker)
    return commands


def _all() -> "typer.Typer":
    from afterword.cli.commands import commands

    return commands
