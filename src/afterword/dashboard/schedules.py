"""The screen Schedules: the next occurrences, and the jobs of the latest ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from afterword.admin.ids import NotFound
from afterword.admin.schedules import note_on_schedule, schedule_state
from afterword.dashboard.command import command
from afterword.dashboard.rendering import kind_of
from afterword.dashboard.view import Page, Redirect, View
from afterword.model.clock import as_datetime
from afterword.model.job import JobRecord
from afterword.model.records import ScheduleRecord
from afterword.schedules.recurrence import NEVER, Rule, read_rule, zone_of
from afterword.schedules.schedule import occurrence_id

_SCHEDULES = 50  # on a page
_NEXT = 5  # next occurrences
_LAST = 20  # latest occurrences
_DAY = 86_400.0
_BACK = (_DAY, 30 * _DAY, 800 * _DAY)  # how far the latest occurrences are looked for, in turn


@dataclass(frozen=True, slots=True)
class Run:
    """An occurrence, and its job.

    Args:
        job: its job; None if it has none.
        kind: the state of the job, "no job", or "due" if it will get one.
        late: seconds between the occurrence and the start of its job; None if it has not started.
    """

    at: datetime
    job: JobRecord | None
    kind: str
    late: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule as it is shown.

    Args:
        zone: the name of its time zone.
        next: the next occurrences, the first one first; empty if there is none.
        runs: the latest occurrences, the latest one last.
    """

    schedule: ScheduleRecord
    state: str
    note: str
    zone: str
    next: Sequence[datetime]
    runs: Sequence[Run]

    @property
    def last(self) -> Run | None:
        """The latest occurrence that has a job."""
        return next((run for run in reversed(self.runs) if run.job), None)


def show(view: View) -> Page:
    """Show the schedules that processes have declared."""
    after = view.asked("after")
    behind = [each for each in view.store.schedules() if each.name > after]
    schedules = [_shown(view, each) for each in behind[:_SCHEDULES]]
    return Page(
        template="schedules.html",
        title="Schedules",
        live=True,
        values={
            "schedules": schedules,
            "zone_of": lambda each: zone_of(each.schedule.rule),
            "older": view.url("/schedules", after=behind[_SCHEDULES - 1].name)
            if len(behind) > _SCHEDULES
            else "",
            "after": after,
            "did": {"pause": "Paused", "resume": "Resumed"}.get(view.asked("did"), ""),
            "changed": view.asked("name"),
            "command": command("schedules"),
            "command_of": command,
        },
    )


def _shown(view: View, schedule: ScheduleRecord) -> Shown:
    rule = read_rule(schedule.rule)
    return Shown(
        schedule=schedule,
        state=schedule_state(schedule, view.now),
        note=note_on_schedule(schedule, view.now),
        zone=str(zone_of(schedule.rule)),
        next=[as_datetime(at) for at in _next(rule, schedule)],
        runs=_runs(view, rule, schedule) if rule else [],
    )


def _next(rule: Rule | None, schedule: ScheduleRecord) -> Iterator[float]:
    """Yield the next occurrences without a job."""
    at = schedule.next_at.timestamp()
    for _ in range(_NEXT):
        if at >= NEVER:
            return
        yield at
        if rule is None:
            return
        at = rule.next_after(at)


# ---------------------------------------------------------------------- what became of the latest


def _runs(view: View, rule: Rule, schedule: ScheduleRecord) -> list[Run]:
    """Return the latest occurrences, from the first one that has a job."""
    latest = _latest(rule, view.now)
    ids = [occurrence_id(schedule.name, at) for at in latest]
    jobs = {job.id: view.shown(job) for job in view.store.get(ids)}
    due_at = schedule.next_at.timestamp()
    runs = [
        _run(view, at, jobs.get(job_id), due=at >= due_at)
        for at, job_id in zip(latest, ids, strict=True)
    ]
    # Before it, the schedule was new, or its jobs have been deleted.
    first = next((index for index, run in enumerate(runs) if run.job), len(runs))
    return runs[first:]


def _latest(rule: Rule, now: float) -> Sequence[float]:
    found: Sequence[float] = ()
    for back in _BACK:
        found = rule.passed(now - back, now, _LAST).newest
        if len(found) == _LAST:
            break
    return found


def _run(view: View, at: float, job: JobRecord | None, *, due: bool) -> Run:
    if job is None:
        return Run(as_datetime(at), None, "due" if due else "no job", None)
    started = job.started_at
    late = max(0.0, started.timestamp() - at) if started and job.attempt <= 1 else None
    return Run(as_datetime(at), job, kind_of(job, view.now), late)


# ---------------------------------------------------------------------- changes


def pause(view: View) -> Redirect:
    """Stop a schedule from creating jobs."""
    return _changed(view, paused=True)


def resume(view: View) -> Redirect:
    """Let a schedule create jobs again."""
    return _changed(view, paused=False)


def _changed(view: View, *, paused: bool) -> Redirect:
    name = view.asked("name")
    if not view.store.pause_schedule(name, paused, view.by):
        raise NotFound(f"There is no schedule {name!r} in this store.")
    did = "pause" if paused else "resume"
    return Redirect(view.url("/schedules", did=did, name=name, after=view.asked("after")))
