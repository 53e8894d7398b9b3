"""The scheduler: creates the jobs of schedules, in every process and without a leader.

The store keeps a cursor for each schedule: the next occurrence without a job. The process that
first finds it due creates the jobs and advances the cursor, in one transaction; the others then
find nothing due. If two processes try at the same time, the cursor of the second no longer matches.
Its jobs would also have the same ids, because the id of an occurrence is made from the schedule's
name and the time.

A process looks only after the schedules in its own code: one that is removed from the code stops.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from afterword import telemetry
from afterword.client.call import Call, draft, traced
from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling
from afterword.errors import ConfigurationError, StoreUnavailable, safe_repr
from afterword.injection.needs import Injection
from afterword.model.job import NewJob
from afterword.schedules.recurrence import Rule
from afterword.schedules.schedule import (
    Missed,
    Overlap,
    Schedule,
    check_name,
    check_treatment,
    occurrence_id,
    plan_firing,
)
from afterword.store.protocol import Declared, Due, Store
from afterword.tasks.options import NO_OPTIONS, CallOptions
from afterword.tasks.registry import storable

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

TICK_EVERY = 0.5  # seconds: the most by which an occurrence is late
DECLARE_EVERY = 60.0  # seconds: shows people which schedules a running process still has


class ScheduleAdder:
    """Adds a schedule for a function, as a decorator or with `add_task`.

    Args:
        plan: notes the call of the schedule's jobs.
        args, kwargs: the arguments of each job, for the decorator.

    Raises:
        ConfigurationError: they are no list and no mapping.
    """

    def __init__(self, plan: Callable[[Call], None], args: object, kwargs: object) -> None:
        if not isinstance(args, Sequence) or isinstance(args, str | bytes):
            raise _no_arguments("args", "a list", args, "[42]")
        if not isinstance(kwargs, Mapping):
            raise _no_arguments("kwargs", "a dictionary", kwargs, '{"user_id": 42}')
        self._plan, self._args, self._kwargs = plan, tuple(args), kwargs

    def __call__(self, func: F, /) -> F:
        """Schedule the function; return it unchanged."""
        self._plan(Call(func, self._args, self._kwargs))
        return func

    def add_task(self, func: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Schedule calls of a function with these arguments.

        Example:
            afterword.every("0 8 * * 1", name="weekly").add_task(send_report, "week")
        """
        self._plan(Call(func, args, kwargs))


def _no_arguments(option: str, kind: str, value: object, example: str) -> ConfigurationError:
    return ConfigurationError(
        f"{option} of every() must be {kind} of the job's arguments, but it is"
        f" {safe_repr(value)}. Example: @afterword.every(seconds=30, {option}={example})."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A schedule as the application's code declares it; its function may not have a name yet.

    Args:
        name: the schedule's name; None: that of the function, `module.qualname`.
        injection: the injection of the application.
        call_options: the options of each job.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rule: Rule
    name: str | None
    missed: Missed
    limit: int
    grace: float
    injection: Injection
    overlap: Overlap = "allow"
    call_options: CallOptions = NO_OPTIONS

    def __post_init__(self) -> None:
        """Refuse invalid values in the line that declares the schedule."""
        if self.name is not None:
            check_name(self.name)
        check_treatment(self.missed, self.limit, self.grace, self.overlap)

    def schedule(self) -> Schedule:
        """Make the schedule, with its name and its task's reference."""
        task = storable(self.injection.unwrap(self.func), self.injection.unwrap)
        return Schedule(
            name=task.replace(":", ".") if self.name is None else self.name,
            task=task,
            rule=self.rule,
            missed=self.missed,
            limit=self.limit,
            grace=self.grace,
            overlap=self.overlap,
        )

    def job(self, schedule: Schedule) -> NewJob:
        """Make the job that the job of each occurrence is copied from."""
        call = Call(self.func, self.args, self.kwargs, self.call_options)
        job = NewJob(**draft(call, self.injection, is_sent=False))
        return replace(job, tags=(*job.tags, f"schedule:{schedule.name}"))


class Scheduler:
    """Creates the jobs of schedules, in the store's thread.

    Args:
        group: runs the store's operations.
        planned: the schedules that the application's code declares.

    Raises:
        ConfigurationError: two schedules have the same name, or one is invalid.
        NotStorable, ArgumentError: a schedule's call cannot be stored.
    """

    def __init__(self, group: GroupCommit, planned: Sequence[Planned]) -> None:
        self._group = group
        self.held = False  # occurrences get jobs by `fire` only, in tests
        self._schedules: dict[str, Schedule] = {}
        self._models: dict[str, NewJob] = {}  # the jobs to copy
        for each in planned:
            schedule = each.schedule()
            if schedule.name in self._schedules:
                raise ConfigurationError(
                    f"Each schedule must have a name of its own, but two are called"
                    f' {schedule.name!r}. Example: @afterword.every("0 9 * * *", name="mornings").'
                )
            self._schedules[schedule.name] = schedule
            self._models[schedule.name] = each.job(schedule)

    def start(self) -> None:
        """Declare the schedules, and create their jobs from now on."""
        self.declare()
        self._group.every(TICK_EVERY, self._tick_unless_held)
        self._group.every(DECLARE_EVERY, self._declare)

    def declare(self) -> None:
        """Make the schedules known to the store, which must be running."""
        self._group.run_blocking(calling(self._declare))

    def fire(self) -> float | None:
        """Create the jobs of the occurrences that are due.

        Returns:
            The time of the next occurrence; None if there is none.
        """
        self._group.run_blocking(calling(self._tick))
        known = [each for each in self._group.store.schedules() if each.name in self._schedules]
        return min((each.next_at.timestamp() for each in known if not each.paused), default=None)

    def _declare(self, store: Store) -> None:
        now = store.now()
        store.declare(
            [
                Declared(
                    name=each.name,
                    task=each.task,
                    rule=each.rule.text,
                    words=each.rule.words,
                    next_at=each.rule.next_after(now),
                )
                for each in self._schedules.values()
            ]
        )

    def _tick_unless_held(self, store: Store) -> None:
        if not self.held:
            self._tick(store)

    def _tick(self, store: Store) -> None:
        try:
            self._fire_due(store, self._rules_of(self._schedules))
        except StoreUnavailable:
            raise
        except Exception:  # one schedule failed: the others must not wait for it
            for name in self._schedules:
                self._fire_alone(store, name)

    def _rules_of(self, names: Iterable[str]) -> Mapping[str, str]:
        return {name: self._schedules[name].rule.text for name in names}

    def _fire_due(self, store: Store, rules: Mapping[str, str]) -> None:
        with store.transaction():
            for due in store.due(rules):
                self._fire(store, due)

    def _fire_alone(self, store: Store, name: str) -> None:
        try:
            self._fire_due(store, self._rules_of([name]))
        except StoreUnavailable:
            raise
        except Exception as error:
            telemetry.schedule_failed(name, error)

    def _fire(self, store: Store, due: Due) -> None:
        schedule = self._schedules[due.name]
        firing = plan_firing(schedule, due.next_at, due.now)
        occurrences = _without_overlap(store, schedule, due, firing.occurrences)
        last_at = occurrences[-1] if occurrences else None
        if not store.advance(due, firing.next_at, last_at):
            return
        store.add(self._jobs(schedule, due, occurrences))
        if firing.missed:
            telemetry.missed(schedule.name, firing.missed, schedule.missed)

    def _jobs(self, schedule: Schedule, due: Due, occurrences: Sequence[float]) -> list[NewJob]:
        model = self._models[schedule.name]
        ids = [occurrence_id(schedule.name, at) for at in occurrences]
        jobs = [traced(replace(model, id=each)) for each in ids]
        if schedule.overlap != "queue":
            return jobs
        befores = [_previous(schedule, due), *(job.id for job in jobs)]
        return [
            replace(job, after=before, on_failure="continue")
            for job, before in zip(jobs, befores, strict=False)
        ]


def _previous(schedule: Schedule, due: Due) -> str | None:
    """Return the job id of the latest occurrence that has a job."""
    return None if due.last_at is None else occurrence_id(schedule.name, due.last_at)


def _without_overlap(
    store: Store, schedule: Schedule, due: Due, occurrences: Sequence[float]
) -> Sequence[float]:
    """Return the occurrences that get a job, under `overlap`.

    With "skip" it is the latest one, or none while the previous job is unfinished.
    """
    if schedule.overlap != "skip":
        return occurrences
    before = _previous(schedule, due)
    unfinished = [job for job in store.get([before] if before else []) if not job.state.final]
    return [] if unfinished else occurrences[-1:]
