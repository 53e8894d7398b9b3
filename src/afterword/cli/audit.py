"""`afterword audit`: the changes that people made."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from afterword.admin.audit import ACTIONS, Wanted, changed_in_words, every_act
from afterword.admin.document import document
from afterword.admin.duration import show_instant
from afterword.cli import output
from afterword.cli.look import NARROW, narrower_than
from afterword.cli.options import Json, Url, opened, require_utf8
from afterword.cli.output import Grid
from afterword.cli.parsers import one_of, whole
from afterword.errors import ConfigurationError
from afterword.model.audit import AuditRecord


def audit(
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only by people whose name contains this text."),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="ACTION",
            parser=one_of("ACTION", ACTIONS),
            autocompletion=lambda: [*ACTIONS],
            help=f"Only this action: {', '.join(ACTIONS)}.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only changes of this job, queue or schedule."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("N", 1, 100_000), help="List at most this many changes."
        ),
    ] = 20,
    before: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only changes older than this one: the next page."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the changes that people made, the newest first.

    Lists changes in the dashboard, on the command line and through the status API; they are kept
    for a year. A change of all that match names its search, not the jobs.

    \b
    Examples:
      afterword audit
      afterword audit --name ada --action delete
      afterword audit --target 0193e5f0-7c1a-7b2e-8d3f-0123456789ab
      afterword audit --limit 100000 --json > audit.jsonl
    """
    for option, text in (("--name", name), ("--target", target)):
        require_utf8(option, text)
    wanted = Wanted(name=name or "", action=action or "", target=target or "")
    with opened(url) as store:
        found = list(every_act(store, wanted, limit, _id(before)))
    if json:
        output.print_lines(map(document, found))
    elif found:
        output.show_grid(_grid(found))
    else:
        output.tell("No change matches." if not wanted.all else "No changes have been made yet.")
    if len(found) == limit:
        output.tell(f"There may be more. The next page: --before {found[-1].id}")


def _id(typed: str | None) -> str | None:
    """Check an id of the audit.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return None if typed is None else str(UUID(typed))
    except ValueError:
        raise ConfigurationError(
            f"--before must be the id of an action, but it is {typed!r}. `afterword audit --json`"
            " shows the ids."
        ) from None


def _grid(found: Sequence[AuditRecord]) -> Grid:
    grid = Grid(("at", "name", "place", "action", "changed", "on"), ("name", "on"), ("changed",))
    for each in found:
        grid.add(
            show_instant(each.at),
            each.name,
            each.place,
            each.action,
            changed_in_words(each),
            each.target,
        )
    return grid.without("place") if narrower_than(NARROW) else grid
