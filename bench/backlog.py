"""D: jobs per second that one process drains from a stored backlog of no-op tasks.

Measured from the first start to the last end, as the store's history has them.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from afterword.job import JobRecord, JobState, NewJob, new_id
from afterword.store import Store, open_store
from bench.result import Result
from bench.server import running

DRAIN_WITHIN = 300.0  # seconds
TASKS = {"async def": "bench.applications:async_task", "def": "bench.applications:sync_task"}
_PER_TRANSACTION = 1_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One drained backlog."""

    per_second: float
    cpu_microseconds: float  # of the whole process, per job


def measure(rounds: int, jobs: int, parent: Path | None) -> Result:
    """Drain a backlog of each kind of task, in turns."""
    figures: dict[str, list[Figure]] = {name: [] for name in TASKS}
    for number in range(rounds):
        for name, task in TASKS.items():
            figure = _measure(task, jobs, parent)
            figures[name].append(figure)
            print(f"round {number + 1}: {name}: {figure.per_second:,.0f}/s", file=sys.stderr)
    return _result(figures, jobs)


def _measure(task: str, jobs: int, parent: Path | None) -> Figure:
    with tempfile.TemporaryDirectory(prefix="afterword-bench-", dir=parent) as folder:
        path = Path(folder) / "jobs.db"
        store = open_store(f"sqlite:///{path}")
        store.open()
        _fill(store, task, jobs)
        with running("bench.applications:durable", path) as server:
            _wait_until_drained(store)
            cpu = server.cpu_seconds
        records = store.find(limit=jobs + 1)
        store.close()
    _require_completed(records, jobs)
    return Figure(jobs / _span(records), cpu / jobs * 1e6)


def _fill(store: Store, task: str, jobs: int) -> None:
    for start in range(0, jobs, _PER_TRANSACTION):
        number = min(_PER_TRANSACTION, jobs - start)
        store.add([NewJob(id=new_id(), task=task, arguments='{"number":1}') for _ in range(number)])


def _wait_until_drained(store: Store) -> None:
    deadline = time.monotonic() + DRAIN_WITHIN
    while (counts := store.count())[JobState.QUEUED] + counts[JobState.RUNNING]:
        if time.monotonic() > deadline:
            raise SystemExit(f"after {DRAIN_WITHIN:g} s there are jobs left: {counts}")
        time.sleep(0.1)


def _require_completed(records: Sequence[JobRecord], jobs: int) -> None:
    completed = sum(record.state is JobState.COMPLETED for record in records)
    if completed != jobs:
        raise SystemExit(f"{jobs} jobs were stored, and {completed} of them completed")


def _span(records: Sequence[JobRecord]) -> float:
    """Seconds from the first start to the last end."""
    first = min(record.started_at for record in records if record.started_at)
    last = max(record.finished_at for record in records if record.finished_at)
    return (last - first).total_seconds()


def _result(figures: dict[str, list[Figure]], jobs: int) -> Result:
    rows = [
        [
            name,
            f"{median(each.per_second for each in measured):,.0f}",
            f"{median(each.cpu_microseconds for each in measured):,.0f}",
        ]
        for name, measured in figures.items()
    ]
    return Result(
        name="D",
        title="Jobs per second that one process drains",
        header=["", "jobs/s", "CPU per job with start-up, µs"],
        rows=rows,
        notes=f"A stored backlog of {jobs:,} no-op jobs, from the first start to the last end.",
        data={
            name: {
                "jobs_per_second": [round(each.per_second, 1) for each in measured],
                "cpu_microseconds": [round(each.cpu_microseconds, 1) for each in measured],
            }
            for name, measured in figures.items()
        },
    )
