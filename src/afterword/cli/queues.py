"""`afterword queues`: the queues, and their rules, which hold in all processes.

`queues` alone lists them. The commands that change one are subcommands (`queues pause`), because
schedules can be paused, too.
"""

from typing import Annotated, Any

import typer

from afterword.admin import queues as rules
from afterword.admin.document import document
from afterword.admin.duration import show_span
from afterword.admin.health import Snapshot
from afterword.admin.queues import UNAWARE, Ruled, read_limit, rule_in_words, served_by
from afterword.cli import output
from afterword.cli.options import Json, Url, clock, opened, refuse_before_verb
from afterword.cli.output import Grid
from afterword.cli.person import this_person
from afterword.model.records import QueueRecord
from afterword.store.protocol import Store

_NUMBERS = ("due", "scheduled", "waiting", "running")

queues = typer.Typer(rich_markup_mode=None)

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="The queues.")]


@queues.callback(invoke_without_command=True)
def list_queues(context: typer.Context, url: Url = None, json: Json = False) -> None:
    """List the queues and their workers; or pause one.

    Lists queues with unfinished jobs, or with a rule. The commands below change rules.

    \b
    Examples:
      afterword queues
      afterword queues --json | jq 'select(.workers == 0)'
      afterword queues pause mail
    """
    if context.invoked_subcommand:
        refuse_before_verb(context.invoked_subcommand, "queues", url, json)
        return
    with opened(url) as store:
        found, workers = store.queues(), store.workers()
    snapshot = Snapshot(counts={}, queues=found, workers=workers, now=clock.now())
    if json:
        output.print_lines(_document(snapshot, queue) for queue in snapshot.queues)
    elif snapshot.queues:
        output.show_grid(queue_grid(snapshot))
    else:
        output.tell("No queue has unfinished jobs or a rule.")


def queue_grid(snapshot: Snapshot, limit: int | None = None) -> Grid:
    """Make a table with a line per queue, which shows if it is paused or not served."""
    headings = ("queue", *_NUMBERS, "limit", "oldest due", "served by")
    spare = ("limit", "waiting", "scheduled", "oldest due")
    grid = Grid(headings, ("queue",), (*_NUMBERS, "limit"), spare)
    for queue in snapshot.queues[:limit]:
        grid.add(
            queue.name,
            *(f"{getattr(queue, each):,}" for each in _NUMBERS),
            None if queue.concurrency is None else f"{queue.concurrency:,}",
            show_span(snapshot.waits(queue)) if queue.due else None,
            served_by(snapshot, queue),
        )
    return grid


def _document(snapshot: Snapshot, queue: QueueRecord) -> dict[str, Any]:
    return {**document(queue), "workers": len(snapshot.serving(queue.name))}


# ---------------------------------------------------------------------- their rules


@queues.command()
def pause(names: Names, url: Url = None, json: Json = False) -> None:
    """Stop workers from starting jobs of these queues.

    Running jobs continue, and jobs can be added. `queues resume` ends the pause. The rule
    holds for all processes, also later ones.

    \b
    Examples:
      afterword queues pause mail
      afterword queues pause mail reports
    """
    with opened(url) as store:
        _say(store, rules.pause(store, names, this_person()), json)


@queues.command()
def resume(names: Names, url: Url = None, json: Json = False) -> None:
    """Let the workers start jobs of these queues again.

    \b
    Examples:
      afterword queues resume mail
    """
    with opened(url) as store:
        _say(store, rules.resume(store, names, this_person()), json)


@queues.command("limit")
def limit_queue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The queue.")],
    limit: Annotated[
        str,
        typer.Argument(metavar="N|none", help="How many jobs may run at a time; none: no limit."),
    ],
    url: Url = None,
    json: Json = False,
) -> None:
    """Limit how many jobs of a queue run at the same time.

    The limit holds over all processes. An application that sets a limit for the queue itself,
    Afterword(app, queues={"mail": 5}), sets it again when it starts.

    \b
    Examples:
      afterword queues limit mail 5
      afterword queues limit mail none
    """
    most = read_limit(limit)
    with opened(url) as store:
        _say(store, rules.limit(store, name, most, this_person()), json)


def _say(store: Store, ruled: Ruled, json: bool) -> None:
    if not ruled.noted:
        output.tell(UNAWARE)
    if json:
        output.print_lines({"name": name, **rule} for name, rule in ruled.rules.items())
        return
    served = {queue for worker in store.workers() for queue in worker.queues}
    for name, rule in ruled.rules.items():
        output.write(f"{name}  {rule_in_words(rule)}\n")
        # A rule may be set before the queue is used, but the name may also be a typing mistake.
        if name not in served:
            output.tell(f"No worker serves a queue {name} now; the rule holds once one does.")
