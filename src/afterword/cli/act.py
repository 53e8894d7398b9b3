"""`afterword retry`, `cancel` and `delete`: some jobs by id, or all that match a filter."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from afterword.admin.ids import known_id
from afterword.cli import options
from afterword.cli.acting import Act, act_on, act_on_all
from afterword.cli.options import Json, Url, opened
from afterword.errors import ConfigurationError
from afterword.model.job import FINAL_STATES, JobState
from afterword.store.protocol import Store

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Jobs, by ids or their first or last 8 characters."),
]
All = Annotated[bool, typer.Option("--all", help="All jobs that match the options below.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With --all: only print which jobs match, and how many.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask first.")]


_CANCELLED, _ASKED = "cancelled", "asked to end"


def _cancel(store: Store, ids: Sequence[str]) -> Sequence[str | None]:
    accepted = store.cancel(ids, "cancelled on the command line")
    # A job that was queued before may have started since.
    ended = {job.id for job in store.get(ids) if job.state is JobState.CANCELLED}
    words = (_CANCELLED if job_id in ended else _ASKED for job_id in ids)
    return [word if done else None for word, done in zip(words, accepted, strict=True)]


RETRY = Act(
    name="retry",
    help="""Run ended jobs again.

    With --all: failed ones, unless --state says otherwise.

    Jobs of the same request that were cancelled because of them are queued again, too.

    \b
    Examples:
      afterword retry 0193e5f0-7c1a
      afterword retry --all --error "Connection refused" --since 1d --dry-run
      afterword retry --all --task app.mail:send --yes
    """,
    results=("retried",),
    state=JobState.FAILED,
    possible=FINAL_STATES,
    why_not="only a job that has ended can be retried",
    apply=lambda store, ids: ["retried" if done else None for done in store.retry(ids)],
)
CANCEL = Act(
    name="cancel",
    help="""Cancel queued jobs; ask running ones to end.

    The jobs that follow a cancelled one in its request are cancelled, too. A running job ends when
    its task allows it: an `async def` at its next await, a `def` when it checks. See `watch`.

    With --all: queued ones, unless --state running is given.

    \b
    Examples:
      afterword cancel 0193e5f0-7c1a
      afterword cancel --all --queue reports --dry-run
      afterword cancel --all --state running --tag import
    """,
    results=(_CANCELLED, _ASKED),
    state=JobState.QUEUED,
    possible=frozenset({JobState.QUEUED, JobState.RUNNING}),
    why_not="only a job that has not ended can be cancelled",
    apply=_cancel,
)
DELETE = Act(
    name="delete",
    help="""Delete jobs that are not running.

    With --all: those that have ended, unless --state is given.

    \b
    Examples:
      afterword delete 0193e5f0-7c1a
      afterword delete --all --state cancelled --task app.mail:send --yes
    """,
    results=("deleted",),
    state=None,
    possible=FINAL_STATES | {JobState.QUEUED},
    why_not="a running job cannot be deleted",
    apply=lambda store, ids: ["deleted" if done else None for done in store.delete(ids)],
)


def _command(act: Act) -> Callable[..., None]:
    """Make the command of an act: typer reads its options from the signature."""

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
        url: Url = None,
        json: Json = False,
    ) -> None:
        filters = (state, task, queue, tag, error, since)
        with opened(url) as store:
            if _names_ids(ids, everything, dry_run, *filters, request):
                act_on(store, act, ids or [], json)
            else:
                wanted = options.wanted(*filters, known_id(store, request))
                act_on_all(store, act, wanted, dry_run, yes, json)

    command.__doc__ = act.help
    return command


retry, cancel, delete = map(_command, (RETRY, CANCEL, DELETE))


def _names_ids(ids: list[str] | None, everything: bool, dry_run: bool, *filters: object) -> bool:
    """Return True if jobs are named by id. Mixing both ways is refused: it could hit too many."""
    narrowed = dry_run or any(each is not None for each in filters)
    if bool(ids) == everything or (ids and narrowed):
        raise ConfigurationError(
            "Jobs are named by their ids, or by --all and the options that narrow it, but not"
            " both. Examples: afterword retry 0193e5f0-7c1a, or afterword retry --all --task"
            " app.mail:send"
        )
    return not everything
