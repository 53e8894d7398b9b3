"""Add jobs."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from afterword.model.clock import Clock
from afterword.model.job import Delay, NewJob, held_fence
from afterword.store.parts import Values
from afterword.store.protocol import Added
from afterword.store.sqlite.queries import record
from afterword.store.sqlite.writer import Writer


class Adding:
    """Adds jobs."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        now = self._clock.now()
        with self._writer.transaction():
            if any(not job.held and job.after is None for job in jobs):
                self._writer.claimable()
            if len(jobs) > 1 and _are_independent(jobs):
                with suppress(_Present), self._writer.savepoint():
                    return self._add_all(jobs, held_by, now)
            return self._add_in_order(jobs, held_by, now)

    def _add_in_order(
        self, jobs: Sequence[NewJob], held_by: str | None, now: float
    ) -> Sequence[Added]:
        """Add one by one; a follower of a job that exists already follows the one before it."""
        others: dict[str, NewJob] = {}  # the jobs that were not added, by their ids
        answers: list[Added] = []
        for job in jobs:
            other = others.get(job.after or "")
            if other is not None:
                job = replace(job, after=other.after)  # noqa: PLW2901
            row = new_row(job, held_by, now, after_key=other.unique_key if other else None)
            answer = self._add(row)
            if answer.id != job.id:
                others[job.id] = job
            answers.append(answer)
        return answers

    def _add_all(self, jobs: Sequence[NewJob], held_by: str | None, now: float) -> Sequence[Added]:
        """Add jobs by one statement without an answer; see claim.sql for what a row costs.

        Raises:
            _Present: a job with one of their ids exists already.
        """
        rows = json.dumps([tuple(new_row(job, held_by, now).values()) for job in jobs])
        self._writer.write("add_all", {"jobs": rows})
        ((added,),) = self._writer.write("changes", {})
        if added < len(jobs):
            raise _Present
        return [Added(job.id, True) for job in jobs]

    def _add(self, row: Values) -> Added:
        for _, ending in self._writer.write("add", row):
            return Added(row["id"], True, waits=bool(ending and row["worker"]))
        return self._present(row)

    def _present(self, row: Values) -> Added:
        ((other, conflict),) = self._writer.write("present", row)
        if other != row["id"]:
            self._writer.write("share", {**row, "other": other})
        (found,) = self._writer.write("get", {"ids": json.dumps([other])})
        return Added(other, False, bool(conflict), found=record(found))


class _Present(Exception):
    """Not all jobs were added."""


def _are_independent(jobs: Sequence[NewJob]) -> bool:
    """Return True if the jobs depend on no stored one: no unique keys, no older predecessors."""
    before: set[str | None] = {None}
    for job in jobs:
        if job.unique_key is not None or job.after not in before:
            return False
        before.add(job.id)
    return True


def new_row(job: NewJob, held_by: str | None, now: float, after_key: str | None = None) -> Values:
    """Return the row of a job that is added at this time; add_all.sql reads it in this order.

    Args:
        after_key: of its predecessor, if that may not have been added because of it.
    """
    held = job.held and held_by is not None
    return {
        "id": job.id,
        "task": job.task,
        "arguments": job.arguments,
        "queue": job.queue,
        "priority": job.priority,
        "state": "running" if held else "queued",
        "run_at": _start(job.run_at, now),
        "attempt": int(held),
        "worker": held_by if held else None,
        "fence": held_fence(job.id) if held else None,
        "after": job.after,
        "after_key": after_key,
        "on_failure": job.on_failure,
        "request_id": job.request_id,
        "tags": json.dumps(job.tags) if job.tags else None,
        "unique_key": job.unique_key,
        "unique_ended": int(job.unique_ended),
        "limit_key": job.limit_key,
        "options": job.options,
        "now": now,
    }


def _start(run_at: float | Delay | None, now: float) -> float:
    """Return the time of a job's first start."""
    if isinstance(run_at, Delay):
        return now + run_at.seconds
    return now if run_at is None else run_at
