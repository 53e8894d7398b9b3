"""`afterword schedules`: the schedules, their next occurrences, and pausing them.

A schedule is defined in an application's code. The store has its rule, its next occurrence, and
whether it is paused.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from afterword.admin.document import document
from afterword.admin.duration import show_in_zone, show_instant, show_span
from afterword.admin.ids import NotFound
from afterword.admin.running import add_by
from afterword.admin.schedules import note_on_schedule, schedule_state
from afterword.cli import output
from afterword.cli.look import NARROW, narrower_than, with_room
from afterword.cli.options import Json, Url, clock, opened, refuse_before_verb, require_utf8
from afterword.cli.output import Grid
from afterword.cli.person import this_person
from afterword.model.job import NewJob
from afterword.model.records import ScheduleRecord
from afterword.schedules.recurrence import NEVER, zone_of
from afterword.schedules.scheduler import Planned

schedules = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]


@schedules.callback(invoke_without_command=True)
def list_schedules(context: typer.Context, url: Url = None, json: Json = False) -> None:
    """List the schedules and their next occurrences; or pause one.

    A schedule is overdue if running code has it, but creates no jobs for it.

    \b
    Examples:
      afterword schedules
      afterword schedules --json | jq 'select(.state == "overdue")'
      afterword schedules pause nightly-report
    """
    if context.invoked_subcommand:
        refuse_before_verb(context.invoked_subcommand, "schedules", url, json)
        return
    with opened(url) as store:
        found = store.schedules()
    now = clock.now()
    if json:
        output.print_lines(_document(each, now) for each in found)
    elif found:
        output.show_grid(_grid(found, now))
    else:
        output.tell("No application has declared a schedule in this store.")


def _document(schedule: ScheduleRecord, now: float) -> dict[str, Any]:
    return {**document(schedule), "state": schedule_state(schedule, now)}


def _grid(found: Sequence[ScheduleRecord], now: float) -> Grid:
    headings = ("schedule", "task", "rule", "next in its zone", "next in UTC", "last", "note")
    grid = Grid(headings, ("schedule", "task", "rule", "note"), ("last",))
    for each in found:
        never = each.next_at.timestamp() >= NEVER
        last = f"{show_span(now - each.last_at.timestamp())} ago" if each.last_at else None
        grid.add(
            each.name,
            each.task,
            each.words,
            "never" if never else show_in_zone(each.next_at, zone_of(each.rule)),
            "never" if never else show_instant(each.next_at),
            last,
            note_on_schedule(each, now),
        )
    if narrower_than(NARROW):
        grid = grid.without("task", "next in UTC")
    return with_room(grid, ("last", "rule"), ("rule",))


# ---------------------------------------------------------------------- what is done to one


@schedules.command()
def pause(name: Name, url: Url = None, json: Json = False) -> None:
    """Stop a schedule from creating jobs, until it is resumed.

    \b
    Examples:
      afterword schedules pause nightly-report
    """
    _set_paused(name, url, json, paused=True)


@schedules.command()
def resume(name: Name, url: Url = None, json: Json = False) -> None:
    """Let a schedule create jobs again.

    Missed occurrences are treated as its code says: @afterword.every(..., missed=...).

    \b
    Examples:
      afterword schedules resume nightly-report
    """
    _set_paused(name, url, json, paused=False)


def _set_paused(name: str, url: str | None, json: bool, *, paused: bool) -> None:
    require_utf8("NAME", name)
    with opened(url) as store:
        if not store.pause_schedule(name, paused, this_person()):
            raise NotFound(
                f"There is no schedule {name!r} in {store.url}. `afterword schedules` lists them."
            )
    if json:
        output.print_document({"name": name, "paused": paused})
    else:
        output.write(f"{name}  {'paused' if paused else 'resumed'}\n")


@schedules.command("run")
def run_schedule(
    name: Name,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:APP",
            help="The application with the schedule.  [default: found as `worker` finds it]",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Add a job of a schedule now.

    Imports the application, which defines the task and its arguments. Prints the job's id. The next
    occurrence still gets a job of its own.

    \b
    Examples:
      afterword schedules run nightly-report
      afterword schedules run nightly-report --app app.main:app
    """
    from afterword.cli.discovery import find_application

    application = find_application(app)
    job = _job_of(application.afterword.runtime.planned, name, application.name)
    with opened(url, application.afterword.runtime.store) as store:
        added = add_by(store, job, this_person(), schedule=name)
    output.write(f"{added.id}\n")


def _job_of(planned: Sequence[Planned], name: str, application: str) -> NewJob:
    known = {schedule.name: (each, schedule) for each in planned for schedule in [each.schedule()]}
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise NotFound(f"{application} has no schedule {name!r}. Its schedules: {names}.")
    each, schedule = known[name]
    return each.job(schedule)
