"""The first screen: is it healthy, what is stuck, why."""

from dataclasses import dataclass

from afterword.admin.failures import failures
from afterword.admin.health import Snapshot, capped, look_at, serves
from afterword.admin.search import Search
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, View
from afterword.model.failures import FailureGroup
from afterword.model.job import JobState

_QUEUES = 20
_FAILED = 200  # newest failed jobs that are grouped
_GROUPS = 5


@dataclass(frozen=True, slots=True)
class Slots:
    """The workers that take jobs, their slots, and the jobs that run."""

    workers: int
    slots: int
    running: int


def show(view: View) -> Page:
    """Show the health of the store, its queues, and the latest failures."""
    snapshot = view.recent.get("snapshot", lambda: look_at(view.store, view.now))
    groups = _latest_failures(view)
    return Page(
        template="overview.html",
        title="Overview",
        live=True,
        values={
            "snapshot": snapshot,
            "problems": snapshot.problems,
            "notes": snapshot.notes,
            "waiting": capped(snapshot.counts[JobState.QUEUED]),
            "failed": capped(snapshot.counts[JobState.FAILED]),
            "completed": capped(snapshot.counts[JobState.COMPLETED]),
            "slots": _slots(snapshot),
            "queues": snapshot.queues[:_QUEUES],
            "more_queues": max(0, len(snapshot.queues) - _QUEUES),
            "groups": groups[:_GROUPS],
            "empty": not any(snapshot.counts.values()),
            "url": view.store.url,
            "command": command("status"),
        },
    )


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
