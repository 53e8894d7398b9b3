"""How jobs get into the store."""

import json
from collections.abc import Sequence
from dataclasses import replace

from afterword.model.job import NewJob
from afterword.store.protocol import Added
from afterword.store.rows import Values, first_of_each
from afterword.store.sqlite.rows import new_row, record
from afterword.store.sqlite.writing import Writing


class Adding(Writing):
    """The part of the SQLite store that takes jobs in."""

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        now = self._clock.now()
        with self.transaction():
            if not any(job.unique_key for job in jobs):
                return self._add_all(jobs, held_by, now)
            answers = self._add_in_order(jobs, held_by, now)
            self._ready = self._ready or any(not job.held and job.after is None for job in jobs)
        return answers

    def _add_in_order(
        self, jobs: Sequence[NewJob], held_by: str | None, now: float
    ) -> Sequence[Added]:
        """Add one by one; what was to follow a job that is there already follows the one before."""
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
        """The usual case: nothing but its id tells whether a job is there already."""
        rows = (new_row(job, held_by, now) for job in jobs)
        added = {row[0] for row in self._database.write_many("add", rows)}
        self._ready = self._ready or any(not job.held and job.after is None for job in jobs)
        if len(added) == len(jobs):
            return [Added(job.id, True) for job in jobs]
        new = first_of_each([job.id for job in jobs], added)
        return [
            Added(job.id, True) if is_new else self._present(new_row(job, held_by, now))
            for job, is_new in zip(jobs, new, strict=True)
        ]

    def _add(self, row: Values) -> Added:
        for _, ending in self._database.write("add", row):
            return Added(row["id"], True, waits=bool(ending and row["worker"]))
        return self._present(row)

    def _present(self, row: Values) -> Added:
        ((other, conflict),) = self._database.write("present", row)
        if other != row["id"]:
            self._database.write("share", {**row, "other": other})
        (found,) = self._database.write("get", {"ids": json.dumps([other])})
        return Added(other, False, bool(conflict), found=record(found))
