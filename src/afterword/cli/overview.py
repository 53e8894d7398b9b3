"""`afterword status`, `workers` and `tasks`: the store as a whole."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from afterword.admin.document import document
from afterword.admin.duration import show_span
from afterword.admin.health import COUNT_LIMIT, Snapshot, look_at, serves
from afterword.admin.status import store_facts
from afterword.admin.tasks import Task, look, quantile, task_document
from afterword.admin.workers import worker_state
from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.options import Json, Url, clock, opened, opened_of, parsed_since
from afterword.cli.output import Grid
from afterword.cli.queues import queue_grid
from afterword.model.job import JobState
from afterword.model.records import WorkerRecord
from afterword.store.protocol import Store
from afterword.tasks.registry import registered

_QUEUES_IN_STATUS = 20
_RUN = ("run p50", "run p95")


def status(url: Url = None, json: Json = False) -> None:
    """Show the health of the store, and its problems.

    The exit status is 1 if a person has to act: a queue without a worker, jobs or schedules
    that wait although there is no worker at all, jobs that no worker can run, jobs that have been
    due for more than five minutes, a worker that is gone with its jobs, a schedule that creates no
    jobs. A paused queue is only a note.

    \b
    Examples:
      afterword status
      afterword status --json
      afterword status --url sqlite:////var/lib/app/jobs.db
    """
    with opened(url) as store:
        snapshot = look_at(store, clock.now())
        if json:
            output.print_document(_status_document(store, snapshot))
        else:
            show_status(store, snapshot)
    if snapshot.problems:
        raise typer.Exit(ExitCode.FAILED)


def show_status(store: Store, snapshot: Snapshot) -> None:
    """Print the status of a store, and its queues if there are any."""
    output.show_facts(status_facts(store, snapshot))
    if snapshot.queues:
        output.stdout.print()
        output.show_grid(queue_grid(snapshot, _QUEUES_IN_STATUS))


def status_facts(store: Store, snapshot: Snapshot) -> Iterator[tuple[str, str | Text]]:
    """Yield the facts about a store, with the problems first."""
    problems = snapshot.problems
    verdict = Text("unhealthy", "bold red") if problems else Text("healthy", "bold green")
    yield "status", verdict
    for problem in problems:
        yield "problem", Text(problem, "red")
    for note in snapshot.notes:
        yield "note", Text(note, "yellow")
    yield from store_facts(store, snapshot)


def _status_document(store: Store, snapshot: Snapshot) -> dict[str, Any]:
    oldest = snapshot.oldest
    return {
        "healthy": not snapshot.problems,
        "problems": snapshot.problems,
        "notes": snapshot.notes,
        "url": store.url,
        "durability": store.durability,
        "jobs": {state: min(snapshot.counts[state], COUNT_LIMIT) for state in JobState},
        "more_than_counted": [s for s in JobState if snapshot.counts[s] > COUNT_LIMIT],
        "oldest_due_seconds": round(snapshot.waits(oldest), 3) if oldest else None,
        "workers": sum(serves(worker) for worker in snapshot.workers),
        "unserved_queues": [queue.name for queue in snapshot.unserved],
        "paused_queues": [queue.name for queue in snapshot.queues if queue.paused],
        "overdue_schedules": [each.name for each in snapshot.overdue],
        "asked_to_end": [job.id for job in snapshot.asked],
        "parked_jobs": [job.id for job in snapshot.parked],
    }


# ---------------------------------------------------------------------- workers


def workers(url: Url = None, json: Json = False) -> None:
    """List the workers, with their hosts and loads.

    A worker without slots only stores jobs. A worker that is gone has died, or its lease has
    expired; other workers recover its jobs.

    \b
    Examples:
      afterword workers
      afterword workers --json
    """
    with opened(url) as store:
        found = store.workers()
    if json:
        output.print_lines({**document(each), "state": worker_state(each)} for each in found)
    elif found:
        output.show_grid(worker_grid(found, clock.now()))
    else:
        output.tell("There are no workers.")


def worker_grid(found: Sequence[WorkerRecord], now: float) -> Grid:
    """Make a table with a line per worker."""
    headings = ("worker", "state", "host", "pid", "running", "slots", "queues", "for")
    grid = Grid(headings, ("host", "queues"), ("pid", "running", "slots"), ("pid", "for", "slots"))
    for worker in found:
        grid.add(
            worker.id,
            worker_state(worker),
            worker.host,
            str(worker.pid),
            f"{worker.running:,}",
            f"{worker.concurrency:,}" if worker.concurrency else None,
            ",".join(worker.queues),
            show_span(now - worker.joined_at.timestamp()),
        )
    return grid


# ---------------------------------------------------------------------- tasks


def tasks(
    since: Annotated[
        float | None,
        typer.Option(
            metavar="WHEN",
            parser=parsed_since,
            help="Count jobs that ended since: 90s, 1h, 7d, or an ISO time.  [default: 1h]",
            show_default=False,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:APP",
            help="Import this application, and use its store. Lists all of its tasks, with their"
            " options.",
        ),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the tasks: their jobs by state, and how long these ran.

    \b
    Examples:
      afterword tasks
      afterword tasks --since 7d
      afterword tasks --app app.main:app
    """
    now = clock.now()
    with opened_of(app, url) as (store, afterword):
        known = None if afterword is None else registered()
        found = look(store, now - 3600.0 if since is None else since, now, known)
    if json:
        output.print_lines(map(task_document, found))
    elif found:
        output.show_grid(_task_grid(found, now, options=known is not None))
    else:
        output.tell("No task has unfinished jobs, or jobs that ended since then.")


def _task_grid(found: Sequence[Task], now: float, *, options: bool) -> Grid:
    handed = any(task.handed_over for task in found)
    states = [each for each in JobState if handed or each is not JobState.HANDED_OVER]
    grid = Grid(
        ("task", *states, *_RUN, "last ended", "options"),
        ("task", "options"),
        (*states, *_RUN),
        ("options", "run p50", "cancelled", "last ended", "run p95", "running"),
    )
    for task in found:
        last = f"{show_span(now - task.last_at.timestamp())} ago" if task.last_at else None
        ran = task.ran()
        grid.add(
            task.name,
            *(f"{getattr(task, each):,}" for each in states),
            quantile(ran, 0.5),
            quantile(ran, 0.95),
            last,
            ", ".join(task.code.options) if task.code else None,
        )
    return grid if options else grid.without("options")
