"""`afterword doctor`: checks of the installation and the store, with a fix for each problem."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from afterword.admin.checkup import Finding, conditions, installation, of_store
from afterword.admin.document import document
from afterword.admin.health import look_at
from afterword.cli import output
from afterword.cli.discovery import find_application
from afterword.cli.exit_code import ExitCode, exit_code_of
from afterword.cli.options import Json, Url, chosen, clock, opened
from afterword.errors import ConfigurationError, StoreError
from afterword.tasks.application import described
from afterword.tasks.registry import registered
from afterword.telemetry import printable

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(
    url: Url = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:APP",
            help="Import this application, use its store, and list what stored jobs may call.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check everything, and print how to fix each problem.

    Checks the installation, the store, its workers and queues. The exit status is 1 if there is a
    problem, and 5 if the store cannot be used.

    \b
    Examples:
      afterword doctor
      afterword doctor --app main:app
      afterword doctor --json | jq 'select(.level == "problem")'
    """
    code, problems = ExitCode.OK, 0
    try:
        for finding in _findings(url, app):
            problems += finding.level == "problem"
            _show(finding, json)
    except ConfigurationError as error:
        found, _, fix = str(error).partition("\n")
        _show(Finding("configuration", "problem", found, fix), json)
        code = exit_code_of(error)
    except StoreError as error:
        fix = "Create or migrate it with `afterword db migrate`, or name another one with --url."
        _show(Finding("store", "problem", str(error), fix), json)
        code = exit_code_of(error)
    if problems and not code:
        code = ExitCode.FAILED
    raise typer.Exit(code)


def _show(finding: Finding, json: bool) -> None:
    if json:
        output.print_lines([document(finding)])
        return
    level = Text(f"{finding.level:<7}", _COLOURS[finding.level])
    output.stdout.print(Text.assemble(level, f"  {finding.name}: {printable(finding.found)}"))
    for line in finding.fix.splitlines():
        output.stdout.print(Text(f"         {printable(line)}", "bold"))


def _findings(url: str | None, app: str | None) -> Iterator[Finding]:
    yield from installation()
    usual = None
    if app is not None:
        usual = find_application(app).afterword.runtime.store
        yield from tasks()
    store = chosen(url, usual)
    yield Finding("url", "ok", store.url)
    with opened(url, usual) as store:
        yield from of_store(store)
        yield from conditions(look_at(store, clock.now()))


def tasks() -> Iterator[Finding]:
    """List the functions that stored jobs may call, in an imported application."""
    names = ", ".join(sorted(registered())) or "none"
    yield Finding("registered tasks", "ok", names)
    yield Finding("modules of tasks", "ok", f"all functions of {described()}")
