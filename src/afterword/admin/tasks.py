"""The tasks: the numbers and times of their jobs, and their options and descriptions.

Jobs that ended are read from the counters, not from the history: that takes the same time for any
number of jobs, and jobs that have been deleted since are counted, too.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from afterword.admin.duration import show_duration
from afterword.admin.words import many
from afterword.errors import UnknownTask
from afterword.model.counters import (
    HOUR,
    MINUTE,
    TEN_MINUTES,
    CounterRecord,
    Histogram,
    added_up,
)
from afterword.model.job import JobState
from afterword.model.records import TaskRecord
from afterword.store.protocol import Store
from afterword.tasks.options import TaskOptions
from afterword.tasks.registry import options_of, resolve

PARTS = 24  # of the time that is looked at, in which the jobs that ended are counted one by one


@dataclass(frozen=True, slots=True)
class Code:
    """A task as the application in this process has it.

    Args:
        description: the first paragraph of its docstring.
        options: those that differ from the defaults, in words.
    """

    description: str
    options: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task and its jobs.

    Args:
        queued, running: how many jobs are so now.
        completed, failed, cancelled, handed_over: how many ended so in the time that was looked at.
        counters: those of the jobs that ended.
        ended: how many jobs ended in each part of the time.
        last_at: the start of the latest period that is counted and in which one ended.
        code: None if the application is not in this process, or has no such task.
    """

    name: str
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    handed_over: int
    counters: Sequence[CounterRecord]
    ended: tuple[int, ...]
    last_at: datetime | None
    code: Code | None

    def waited(self) -> Histogram:
        """Add up the times between the moments at which attempts were due and their starts."""
        return added_up(each.waited for each in self.counters)

    def ran(self) -> Histogram:
        """Add up how long the last attempts took."""
        return added_up(each.ran for each in self.counters)

    @property
    def failure_rate(self) -> float | None:
        """The part of the jobs that failed, of those that were not cancelled."""
        ran = self.completed + self.handed_over + self.failed
        return self.failed / ran if ran else None


def look(
    store: Store,
    since: float,
    now: float,
    known: Iterable[str] | None = None,
    limit: int | None = None,
) -> list[Task]:
    """Look at the tasks that have unfinished jobs, or jobs that ended since then, by name.

    Args:
        since: seconds since 1970. It counts to the minute, to ten minutes if it is more than two
            hours ago, and to the hour if it is more than two days ago.
        known: names of the application's tasks, which are listed in any case; None: there is no
            application in this process.
        limit: only the newest so many queued jobs are counted; None: all, however long that takes.
    """
    unfinished = {task.name: task for task in store.tasks(limit)}
    ended: dict[str, list[CounterRecord]] = {}
    for record in store.counters(since, _period(now - since)):
        ended.setdefault(record.task, []).append(record)
    names = sorted({*unfinished, *ended, *(known or ())})
    return [
        _task(
            name,
            unfinished.get(name),
            ended.get(name, []),
            since=since,
            now=now,
            code=None if known is None else code_of(name),
        )
        for name in names
    ]


def _period(seconds: float) -> int:
    """Return the length of the counted periods for a time."""
    if seconds <= 2 * HOUR:
        return MINUTE
    return TEN_MINUTES if seconds <= 48 * HOUR else HOUR


def _task(
    name: str,
    unfinished: TaskRecord | None,
    ended: Sequence[CounterRecord],
    *,
    since: float,
    now: float,
    code: Code | None,
) -> Task:
    jobs = dict.fromkeys(JobState, 0)
    parts = [0] * PARTS
    for each in ended:
        jobs[each.state] += each.jobs
        parts[_part(each.started_at.timestamp(), since, now)] += each.jobs
    return Task(
        name=name,
        queued=unfinished.queued if unfinished else 0,
        running=unfinished.running if unfinished else 0,
        completed=jobs[JobState.COMPLETED],
        failed=jobs[JobState.FAILED],
        cancelled=jobs[JobState.CANCELLED],
        handed_over=jobs[JobState.HANDED_OVER],
        counters=ended,
        ended=tuple(parts),
        last_at=max((each.started_at for each in ended), default=None),
        code=code,
    )


def _part(at: float, since: float, now: float) -> int:
    """Return the part of the time in which a moment is."""
    part = int((at - since) / max(now - since, 1.0) * PARTS)
    return min(max(part, 0), PARTS - 1)


def task_document(task: Task) -> Mapping[str, object]:
    """Convert a task for programs."""
    numbers = {state.value: getattr(task, state) for state in JobState}
    durations = {
        f"{name}_{part}_seconds": histogram.quantile(quantile)
        for name, histogram in (("wait", task.waited()), ("run", task.ran()))
        for part, quantile in (("p50", 0.5), ("p95", 0.95))
    }
    last_at = task.last_at.isoformat() if task.last_at else None
    rate = {"failure_rate": task.failure_rate}
    code = task.code
    known = {"description": code.description, "options": list(code.options)} if code else {}
    return {"name": task.name, **numbers, **rate, **durations, "last_at": last_at, **known}


def quantile(durations: Histogram, part: float) -> str | None:
    """Write a quantile of durations; None if there are none."""
    seconds = durations.quantile(part)
    return None if seconds is None else show_duration(seconds)


# ---------------------------------------------------------------------- the code


def code_of(name: str) -> Code | None:
    """Return the description and options of a task in this process; nothing is imported."""
    try:
        func = resolve(name)
    except UnknownTask:
        return None
    text = inspect.getdoc(func)
    paragraph = text.strip().partition("\n\n")[0] if isinstance(text, str) else ""
    return Code(" ".join(paragraph.split()), tuple(options_in_words(options_of(name))))


def options_in_words(options: TaskOptions) -> Iterator[str]:
    """Yield the options of a task that differ from the defaults.

    >>> list(options_in_words(TaskOptions(queue="mail", retries=3, timeout=30, limit=1)))
    ['queue mail', '3 retries', 'timeout 30 s', '1 job at a time']
    """
    if options.queue != "default":
        yield f"queue {options.queue}"
    if options.priority:
        yield f"priority {options.priority}"
    yield from _attempts_in_words(options)
    each = "" if options.key is None else " for each key"
    if options.limit is not None:
        yield f"{many(options.limit, 'job')} at a time{each}"
    if options.rate is not None:
        yield f"rate {options.rate}{each}"
    if options.tags:
        yield f"tags {', '.join(options.tags)}"


def _attempts_in_words(options: TaskOptions) -> Iterator[str]:
    if options.retries is not None:
        yield "1 retry" if options.retries == 1 else f"{options.retries:,} retries"
    if options.retry_on != (Exception,):
        yield f"retried after {', '.join(kind.__qualname__ for kind in options.retry_on)}"
    if options.timeout is not None:
        yield f"timeout {show_duration(options.timeout)}"
    if options.executor:
        yield "in a process of its own"
    if options.on_crash == "fail":
        yield "fails if its worker dies"
