"""The report: whether every promised task has run.

There are two sources: the store, and the ledger, which the tasks write themselves. A task counts as
lost unless both show that it ran.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from afterword.demo.ledger import Line, read_lines
from afterword.demo.load import Answer
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter
from afterword.store.paging import every
from afterword.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The contents of the store right after the crash."""

    completed: int
    waiting: int
    running: int

    @property
    def unfinished(self) -> int:
        """Tasks that had not ended."""
        return self.waiting + self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a demonstration.

    Of the promised tasks, `ran` ran, `ran_after` of them after the crash. `ran_again` counts those
    with more than one attempt, by the number of attempts. `twice` counts those that had their
    effect both before and after the crash, because the crash came before the first outcome was
    stored. `first_after` and `all_after` are the seconds from the restart to the first start of a
    task, and to the last end.
    """

    answered: int
    promised: int
    left: Leftovers
    ran: int
    ran_after: int
    ran_again: dict[int, int]
    twice: int
    lost: list[str]
    first_after: float
    all_after: float

    @property
    def kept(self) -> bool:
        """Return True if no promised task was lost."""
        return not self.lost


def leftovers(store: Store) -> Leftovers:
    """Count the jobs in the store of a server that was killed."""
    counts = store.count()
    return Leftovers(counts[JobState.COMPLETED], counts[JobState.QUEUED], counts[JobState.RUNNING])


def report(
    answers: Sequence[Answer],
    left: Leftovers,
    store: Store,
    ledger: Path,
    restarted_at: datetime,
) -> Report:
    """Compare the promised tasks with the store and the ledger."""
    records = {record.id: record for record in every(store, Filter())}
    lines = Counter(read_lines(ledger))
    promised = {
        job: _line(task, each.order) for each in answers for job, task in each.tasks.items()
    }
    ran = [job for job, line in promised.items() if _completed(records.get(job)) and lines[line]]
    attempts = Counter(records[job].attempt for job in ran)
    first, last = _span(list(records.values()), restarted_at)
    return Report(
        answered=len(answers),
        promised=len(promised),
        left=left,
        ran=len(ran),
        ran_after=sum(_ended_after(records[job], restarted_at) for job in ran),
        ran_again={number: attempts[number] for number in sorted(attempts) if number > 1},
        twice=sum(lines[promised[job]] > 1 for job in ran),
        lost=sorted(promised.keys() - set(ran)),
        first_after=first,
        all_after=last,
    )


def as_json(result: Report, folder: Path | None) -> str:
    """Format the report as JSON; `folder` is null if it has been removed."""
    return json.dumps(
        {
            "kept": result.kept,
            "answered": result.answered,
            "promised": result.promised,
            "left_at_crash": result.left.unfinished,
            "running_at_crash": result.left.running,
            "ran": result.ran,
            "ran_after_crash": result.ran_after,
            "ran_again": {str(number): count for number, count in result.ran_again.items()},
            "in_ledger_twice": result.twice,
            "lost": result.lost,
            "first_task_after_seconds": round(result.first_after, 3),
            "all_tasks_after_seconds": round(result.all_after, 3),
            "folder": str(folder) if folder else None,
        },
        indent=2,
    )


def _completed(record: JobRecord | None) -> bool:
    return record is not None and record.state is JobState.COMPLETED


def _ended_after(record: JobRecord, instant: datetime) -> bool:
    return record.finished_at is not None and record.finished_at > instant


def _line(task: str, order: int) -> Line:
    return task.rpartition(":")[2], order


def _span(records: Sequence[JobRecord], restarted_at: datetime) -> tuple[float, float]:
    """Return the seconds from the restart to the first start of a task, and to the last end."""
    started = [r.started_at for r in records if r.started_at and r.started_at > restarted_at]
    finished = [r.finished_at for r in records if r.finished_at and r.finished_at > restarted_at]
    if not started or not finished:
        return 0.0, 0.0
    return (
        (min(started) - restarted_at).total_seconds(),
        (max(finished) - restarted_at).total_seconds(),
    )
