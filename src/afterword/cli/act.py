"""`afterword retry`, `cancel` and `delete`: some jobs by id, or all that match a filter."""

from collections.abc import Callable
from typing import Annotated

import typer

from afterword.admin.changes import CANCEL, DELETE, RETRY, Change
from afterword.admin.ids import known_id
from afterword.cli import options
from afterword.cli.acting import act_on, act_on_all
from afterword.cli.options import Json, Url, opened
from afterword.errors import ConfigurationError

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Ids of jobs, or their first or last 8 characters."),
]
All = Annotated[bool, typer.Option("--all", help="All jobs that match the options below.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With --all: only print which jobs match, and how many.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask first.")]


_RETRY_HELP = """Run ended jobs again.

    With --all: failed ones, unless --state says otherwise.

    Jobs of the same request that were cancelled because of them are queued again, too.

    \b
    Examples:
      afterword retry 0193e5f0-7c1a
      afterword retry --all --error "Connection refused" --since 1d --dry-run
      afterword retry --all --task app.mail:send --yes
    """
_CANCEL_HELP = """Cancel queued jobs; ask running ones to end.

    The jobs that follow a cancelled one in its request are cancelled, too. A running job ends when
    its task allows it: an `async def` at its next await, a `def` when it checks. See `watch`.

    With --all: queued ones, unless --state running is given.

    \b
    Examples:
      afterword cancel 0193e5f0-7c1a
      afterword cancel --all --queue reports --dry-run
      afterword cancel --all --state running --tag import
    """
_DELETE_HELP = """Delete jobs that are not running.

    With --all: those that have ended, unless --state is given.

    \b
    Examples:
      afterword delete 0193e5f0-7c1a
      afterword delete --all --state cancelled --task app.mail:send --yes
    """


def _command(change: Change, help_text: str) -> Callable[..., None]:
    """Make the command of a change: typer reads its options from the signature."""

    def command(
        ids: Ids = None,
        everything: All = False,
        dry_run: DryRun = False,
        yes: Yes = False,
        state: options.State = None,
        task: options.Task = None,
        queue: options.Queue = None,
        tag: options.Tag = None,
        error: options.Error = None,
        since: options.Since = None,
        request: options.Request = None,
        search: options.SearchText = None,
        url: Url = None,
        json: Json = False,
    ) -> None:
        filters = (state, task, queue, tag, error, since)
        with opened(url) as store:
            if _names_ids(change, ids, everything, dry_run, *filters, request, search):
                act_on(store, change, ids or [], json)
            else:
                wanted = options.wanted(*filters, known_id(store, request), search)
                act_on_all(store, change, wanted, dry_run, yes, json)

    command.__doc__ = help_text
    return command


retry = _command(RETRY, _RETRY_HELP)
cancel = _command(CANCEL, _CANCEL_HELP)
delete = _command(DELETE, _DELETE_HELP)


def _names_ids(
    change: Change, ids: list[str] | None, everything: bool, dry_run: bool, *filters: object
) -> bool:
    """Return True if jobs are named by id. Mixing both ways is refused: it could hit too many."""
    narrowed = dry_run or any(each is not None for each in filters)
    if bool(ids) == everything or (ids and narrowed):
        raise ConfigurationError(
            "Name jobs by their ids, or by --all and options that narrow it, but not by both."
            f" Examples: afterword {change.name} 0193e5f0-7c1a, or afterword {change.name} --all"
            " --task app.mail:send"
        )
    return not everything
