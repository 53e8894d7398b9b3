"""The list of workers, jobs of lost workers, and history that is too old."""

import json
import os
import socket
from collections.abc import Sequence

from afterword import telemetry
from afterword.errors import StoreError, StoreUnavailable
from afterword.model.audit import KEPT_DAYS
from afterword.model.clock import Careful, Clock
from afterword.model.job import JobState
from afterword.model.outcome import Outcome, Released, RetryAt
from afterword.store.locks import Locks
from afterword.store.parts import (
    INTERRUPTED,
    OCCURRENCE_KEPT,
    Lost,
    Values,
    final_error,
    final_state,
)
from afterword.store.protocol import STOPPED, Recovered
from afterword.store.sqlite.lease_clock import LeaseClock
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.settling import Settling, followed_by
from afterword.store.sqlite.writer import Writer


class Upkeep:
    """Keeps the list of workers, and clears up behind those that were lost."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        careful: Careful,
        locks: Locks,
        settling: Settling,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._careful = careful
        self._locks = locks
        self._settling = settling
        self._lease_clock = LeaseClock(clock)
        self._looked_to = ""  # the job at which `free_followers` ended

    def join(
        self, worker: str, lease: float, queues: Sequence[str] = (), concurrency: int = 0
    ) -> None:
        """Announce a worker, and hold its lock before it can be seen."""
        with self._writer.errors():
            self._locks.hold(worker)
        now = self._clock.now()
        values = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": json.dumps(list(queues)),
            "concurrency": concurrency,
            "lease": lease,
            "now": now,
        }
        with self._writer.transaction():
            self._writer.write("join", values)
        self._lease_clock.note(worker, now + lease)

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease, unless it has been taken off the list."""
        with self._writer.transaction():
            values = {"worker": worker, "lease": lease, "now": self._clock.now()}
            return bool(self._writer.write("renew", values))

    def retire(self, worker: str) -> None:
        """Note that the worker is shutting down."""
        with self._writer.transaction():
            self._writer.write("retire", {"worker": worker})

    def leave(self, worker: str) -> None:
        """Take the worker off the list and drop its lock."""
        with self._writer.transaction():
            self._take_off(worker)
        self._locks.drop(worker)

    def purge(self, retention: float, limit: int) -> int:
        """Delete the oldest history, and the starts that no rate counts any more.

        If the clock is set while this process runs, nothing is deleted early: see `Careful`.
        """
        with self._writer.transaction():
            now = self._careful.now()  # not earlier: the clock may be set meanwhile
            before, occurrences_before = now - retention, now - OCCURRENCE_KEPT
            values = {"before": before, "occurrences_before": occurrences_before, "limit": limit}
            rows = self._writer.write("purge", values)
            ids = json.dumps([row[0] for row in rows])
            self._writer.write("forget_attempts", {"ids": ids})
            self._writer.write("forget_logs", {"ids": ids})
            self._writer.write("forget_retired", {})
            self._writer.write("purge_rates", {"now": self._clock.now(), "limit": limit})
            old = self._careful.now() - KEPT_DAYS * 24 * 3600
            self._writer.write("purge_audit", {"before": old, "limit": limit})
        return len(rows)

    def recover(
        self, limit: int, lease: float, held_by: str | None = None, known: Sequence[str] = ()
    ) -> Sequence[Recovered]:
        """Take the jobs of workers that died, let their lease run out, or lost track of them."""
        now = self._clock.now()
        self._writer.require_same_file()
        self._writer.warn_of_growth()
        with self._writer.errors():
            gone = self._gone()
        values = {"limit": limit, "held_by": held_by, "known": json.dumps(list(known))}
        if not gone and not self._writer.look("lost", {**values, "limit": 1}):
            return []  # the usual case writes nothing
        with self._writer.transaction():
            gone = self._gone()  # again under the lock: a lease may have been renewed meanwhile
            for worker in gone:
                self._take_off(worker)
            lost = [Lost(*row) for row in self._writer.write("lost", values)]
            recovered = [each for job in lost if (each := self._recover_apart(job, now, lease))]
            if recovered:
                self._writer.claimable()
        for worker in gone:
            self._locks.drop(worker)
        return recovered

    def free_followers(self, limit: int) -> int:
        """Free jobs whose predecessor does not exist; the next call continues behind these."""
        rows = self._reader.read("missing", {"last": self._looked_to, "limit": limit})
        self._looked_to = rows[-1][0] if len(rows) == limit else ""
        missing = [after for after, is_missing in rows if is_missing]
        if missing:
            with self._writer.transaction():
                for job_id in missing:
                    self._free_behind(job_id)
        return len(missing)

    def _free_behind(self, job_id: str) -> None:
        """Free or cancel the followers of this job, if it still does not exist."""
        values = {
            "id": job_id,
            "ids": json.dumps([job_id]),
            "stopped": STOPPED,
            "now": self._clock.now(),
        }
        for (state,) in self._writer.write("fate", values):
            self._settling.execute_behind(followed_by(state or JobState.COMPLETED), values)

    def _take_off(self, worker: str) -> None:
        """Take a worker off the list."""
        for statement in ("remember_retired", "leave"):
            self._writer.write(statement, {"worker": worker})

    def _gone(self) -> list[str]:
        """Return the workers that died or let their lease run out."""
        rows = self._writer.write("leases", {})
        self._lease_clock.forget_all_but({row[0] for row in rows})
        return [
            worker
            for worker, expires_at, lease in rows
            if self._lease_clock.note(worker, expires_at) >= lease or self._locks.is_dead(worker)
        ]

    def _recover_apart(self, job: Lost, now: float, lease: float) -> Recovered | None:
        """Recover one job; if the database refuses to move it, the others still are."""
        try:
            with self._writer.savepoint():
                return self._recover(job, now, lease)
        except StoreUnavailable:
            raise
        except StoreError as error:
            telemetry.not_recovered(job.id, error)
            return None

    def _recover(self, job: Lost, now: float, lease: float) -> Recovered | None:
        """Recover a lost job; None if a failed job before it has stopped it just now."""
        outcome = job.outcome(lease)
        state = final_state(outcome)
        lost = job.lost + (not job.retired)
        values = lost_row(job, outcome, now, lost=not job.retired)
        if state is not None:
            ended = self._settling.finish({**values, "state": state.value})
        elif ended := bool(self._writer.write("requeue", values)):
            self._settling.keep_attempt(values)
        return (
            Recovered(job.id, job.task, job.attempt, job.worker, lost, state or JobState.QUEUED)
            if ended
            else None
        )


def lost_row(job: Lost, outcome: Outcome, now: float, *, lost: bool) -> Values:
    """Return the values of requeue.sql and attempt.sql, or of finish.sql, for a lost job."""
    retry = outcome if isinstance(outcome, RetryAt) else None
    return {
        "id": job.id,
        "attempt": job.attempt,
        "worker": job.worker,
        "fence": job.fence,
        "at": now + (retry.delay if retry else 0.0),
        "error": retry.error if retry else final_error(outcome) or INTERRUPTED,
        "result": None,
        "interrupted": int(isinstance(outcome, Released)),
        "lost": int(lost),
        "failures": 0,
        "outcome": "lost" if lost else "interrupted",
        "started_at": None,
        "stopped": STOPPED,
        "now": now,
    }
