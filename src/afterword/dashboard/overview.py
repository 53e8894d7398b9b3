"""The first screen: the health of the store, its problems, charts, queues, latest failures."""

from dataclasses import dataclass

from afterword.admin.activity import RANGES, Activity, activity, failed_in_a_day, rising
from afterword.admin.failures import failures
from afterword.admin.health import Snapshot, capped, look_at, serves
from afterword.admin.search import Search
from afterword.dashboard.activity import DEFAULT, charts, quantile, range_of, sparklines
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, View
from afterword.model.failures import FailureGroup
from afterword.model.job import JobState

_QUEUES = 20
_FAILED = 200  # newest failed jobs that are grouped
_GROUPS = 5
_RATE = 5  # minutes over which the number of jobs per minute is an average


@dataclass(frozen=True, slots=True)
class Slots:
    """The workers that take jobs, their slots, and the jobs that run."""

    workers: int
    slots: int
    running: int


def show(view: View) -> Page:
    """Show the health of the store, its recent work, its queues, and the latest failures."""
    chosen = range_of(view.asked("range"))
    snapshot = view.recent.get("snapshot", lambda: look_at(view.store, view.now))
    in_range = _activity(view, chosen.name)
    last_hour = in_range if chosen.name == "1h" else _activity(view, "1h")
    failed_lately = last_hour.jobs(JobState.FAILED)
    in_a_day = view.recent.get("failed in a day", lambda: failed_in_a_day(view.store, view.now))
    groups = _latest_failures(view)
    return Page(
        template="overview.html",
        title="Overview",
        live=True,
        values={
            "snapshot": snapshot,
            "problems": snapshot.problems,
            "notes": [
                *rising(failed_lately, in_a_day.jobs),
                *snapshot.notes,
            ],
            "waiting": capped(snapshot.counts[JobState.QUEUED]),
            "failed": in_a_day,
            "rate": _rate(last_hour),
            "wait": quantile(last_hour.waited, 0.95),
            "run": quantile(last_hour.ran, 0.95),
            "range": chosen,
            "ranges": _ranges(view),
            "charts": charts(in_range, view.now),
            "sparklines": sparklines(in_range),
            "slots": _slots(snapshot),
            "queues": snapshot.queues[:_QUEUES],
            "more_queues": max(0, len(snapshot.queues) - _QUEUES),
            "groups": groups[:_GROUPS],
            "empty": not any(snapshot.counts.values()),
            "url": view.store.url,
            "command": command("status"),
        },
    )


def _activity(view: View, name: str) -> Activity:
    ask = lambda: activity(view.store, RANGES[name], view.now)  # noqa: E731
    return view.recent.get(f"activity {name}", ask)


def _rate(last_hour: Activity) -> str:
    """Write how many jobs ended in a minute, on average of the last minutes that are over."""
    over = last_hour.periods[-_RATE - 1 : -1]
    jobs = sum(each.ended for each in over) / len(over)
    return f"{jobs:,.0f}" if jobs >= 10 else f"{jobs:.1f}".removesuffix(".0")


def _ranges(view: View) -> dict[str, str]:
    """Return the ranges, with their URLs."""
    return {name: view.url("/", range="" if name == DEFAULT else name) for name in RANGES}


def _slots(snapshot: Snapshot) -> Slots:
    serving = [worker for worker in snapshot.workers if serves(worker)]
    return Slots(
        workers=len(serving),
        slots=sum(worker.concurrency for worker in serving),
        running=snapshot.counts[JobState.RUNNING],
    )


def _latest_failures(view: View) -> list[FailureGroup]:
    """Group the newest failed jobs; the latest group comes first."""
    found = failures(view.store, Search(), _FAILED).groups
    return sorted(found, key=lambda group: group.last_at, reverse=True)
