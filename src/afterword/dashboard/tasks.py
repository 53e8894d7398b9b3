"""The screen Tasks: the tasks' jobs, how long these ran, and the options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from afterword.admin.duration import parse_span
from afterword.admin.health import COUNT_LIMIT
from afterword.admin.tasks import Task, look, quantile
from afterword.admin.words import many
from afterword.dashboard.chart import sparkline
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, View
from afterword.errors import ConfigurationError

_TASKS = 100  # that are listed at a time
_RANGES = {"1h": "a minute", "24h": "ten minutes", "7d": "an hour"}  # and how exact they are
_USUAL = "24h"


@dataclass(frozen=True, slots=True)
class Row:
    """A task, as it is shown.

    Args:
        rate: the part of its jobs that failed, in words.
        half, most: within this time half of the attempts ended, and 95 %; None: there were none.
        ended: how many jobs ended in each part of the range, drawn.
    """

    task: Task
    rate: str
    half: str | None
    most: str | None
    ended: Markup


def show(view: View) -> Page:
    """Show the tasks of the application, and those that have jobs."""
    name = _range(view)
    tasks = view.recent.get(f"tasks {name}", lambda: _look(view, name))
    after = view.asked("after")
    behind = [each for each in tasks if each.name > after]
    shown = behind[:_TASKS]
    older = view.url("/tasks", range=name, after=shown[-1].name) if len(behind) > _TASKS else ""
    return Page(
        template="tasks.html",
        title="Tasks",
        live=True,
        values={
            "rows": [_row(each, name) for each in shown],
            "range": name,
            "ranges": _urls(view),
            "exact_to": _RANGES[name],
            "cut": sum(each.queued for each in tasks) >= COUNT_LIMIT,
            "limit": COUNT_LIMIT,
            "older": older,
            "after": after,
            "command": command("tasks", since=name),
        },
    )


def _range(view: View) -> str:
    name = view.asked("range") or _USUAL
    if name not in _RANGES:
        raise ConfigurationError(f"range must be one of {', '.join(_RANGES)}, but it is {name!r}.")
    return name


def _urls(view: View) -> Mapping[str, str]:
    """Return the ranges, with their URLs."""
    return {name: view.url("/tasks", range="" if name == _USUAL else name) for name in _RANGES}


def _look(view: View, name: str) -> Sequence[Task]:
    known = None if view.tasks is None else view.tasks()
    return look(view.store, view.now - parse_span(name), view.now, known, COUNT_LIMIT)


def _row(task: Task, name: str) -> Row:
    ran = task.ran()
    return Row(
        task=task,
        rate=_in_percent(task.failure_rate),
        half=quantile(ran, 0.5),
        most=quantile(ran, 0.95),
        ended=sparkline(task.ended, f"{many(sum(task.ended), 'job')} ended in {name}")
        if task.last_at
        else Markup("–"),
    )


def _in_percent(part: float | None) -> str:
    """Write a part; it is 0 % only if there is nothing, and 100 % only if that is all.

    >>> [_in_percent(each) for each in (None, 0.0, 0.0001, 0.021, 0.21, 0.9999, 1.0)]
    ['–', '0 %', '< 0.1 %', '2.1 %', '21 %', '99.9 %', '100 %']
    """
    if part is None:
        return "–"
    if 0 < part < 0.001:
        return "< 0.1 %"
    percent = part * 100
    digits = 0 if percent in (0, 100) or 10 <= percent < 99.5 else 1
    return f"{percent if part in (0, 1) else min(percent, 99.9):.{digits}f} %"
