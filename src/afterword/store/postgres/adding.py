"""Add jobs: each once, and of those with one unique key only one at a time.

The index decides which one is added. If another transaction has just added the same key, this one
waits for its end. Then it either finds that job or adds its own.
"""

from collections.abc import Mapping, Sequence

from afterword.model.job import NewJob
from afterword.store.postgres.queries import records
from afterword.store.postgres.rows import new_rows
from afterword.store.postgres.writer import Writer
from afterword.store.protocol import Added


class Adding:
    """Adds jobs."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        with self._writer.transaction():
            answers = self._add(jobs, held_by)
            self._settle_in(jobs, answers)
            if any(not job.held or held_by is None for job in jobs):
                self._writer.claimable()
        return answers

    def _add(self, jobs: Sequence[NewJob], held_by: str | None) -> Sequence[Added]:
        new = {row[0] for row in self._writer.execute("add", new_rows(jobs, held_by))}
        waiting = self._waiting([job for job in jobs if job.id in new], held_by)
        answers: dict[int, Added] = {}
        for place, job in enumerate(jobs):
            if job.id in new:
                new.remove(job.id)  # of two with one id, the first is the one
                answers[place] = Added(job.id, True, waits=job.id in waiting)
        others = [place for place in range(len(jobs)) if place not in answers]
        if others:
            found = self._present([jobs[place] for place in others], held_by)
            answers.update(zip(others, found, strict=True))
        return [answers[place] for place in range(len(jobs))]

    def _waiting(self, jobs: Sequence[NewJob], held_by: str | None) -> set[str]:
        """Return the held jobs that may not start before another one with their key has ended."""
        keyed = [job.id for job in jobs if job.held and held_by and job.unique_key is not None]
        rows = self._writer.execute("waiting", {"ids": keyed}) if keyed else []
        return {row[0] for row in rows}

    def _present(self, jobs: Sequence[NewJob], held_by: str | None) -> Sequence[Added]:
        """Answer for jobs that were not added, with those that are there instead."""
        rows = self._writer.execute("present", new_rows(jobs, None))
        others = [(other, jobs[place - 1]) for place, other, _ in rows]
        shared = self._share([(other, job) for other, job in others if other != job.id])
        known = records(self._writer.session, [other for _, other, _ in rows])
        there = {each.id: each for each in known}
        found = {
            place - 1: Added(other, False, conflict, found=there.get(other))
            for place, other, conflict in rows
            if other in shared or other == jobs[place - 1].id
        }
        gone = [place for place in range(len(jobs)) if place not in found]
        if gone:  # what was in their way has ended since, or was deleted: now they can be added
            again = self._add([jobs[place] for place in gone], held_by)
            found.update(zip(gone, again, strict=True))
        return [found[place] for place in range(len(jobs))]

    def _share(self, others: Sequence[tuple[str, NewJob]]) -> set[str]:
        """Give jobs that are there instead of these; returns those that still are."""
        if not others:
            return set()
        ids = [other for other, _ in others]
        given = {
            "ids": ids,
            "request_ids": [job.request_id for _, job in others],
            "unique_ended": [job.unique_ended for _, job in others],
        }
        unfinished = {row[0] for row in self._writer.execute("share", given)}
        return unfinished | {row[0] for row in self._writer.execute("ended", {"ids": ids})}

    def _settle_in(self, jobs: Sequence[NewJob], answers: Sequence[Added]) -> None:
        """Let the new jobs wait for jobs that are there, and for nothing else."""
        new = {answer.id for answer in answers if answer.added}
        followers = [job for job in jobs if job.after is not None and job.id in new]
        if all(job.after in new for job in followers):
            return
        others = {
            job.id: (job.after, answer.id)
            for job, answer in zip(jobs, answers, strict=True)
            if answer.id != job.id
        }
        places = [place_behind(job, others) for job in followers]
        elsewhere = {each for place in places for each in place if each not in new}
        self._writer.execute("hold_predecessors", {"ids": sorted(filter(None, elsewhere))})
        afters, otherwise = zip(*places, strict=True)
        values = {"afters": list(afters), "otherwise": list(otherwise)}
        self._writer.execute("unblock", {"ids": [job.id for job in followers], **values})


def place_behind(
    job: NewJob, others: Mapping[str, tuple[str | None, str]]
) -> tuple[str | None, str | None]:
    """Return the job that a follower waits for, and the one to wait for if that has ended.

    Args:
        others: the jobs that were not added, because of their unique keys: what each would have
            followed, and what is there instead.
    """
    before, instead = job.after, None
    while before is not None and before in others:
        before, other = others[before]
        instead = instead or other
    return before or instead, instead
