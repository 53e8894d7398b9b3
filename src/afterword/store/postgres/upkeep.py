"""The list of workers, jobs of lost workers, and history that is too old."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from afterword import telemetry
from afterword.errors import StoreError, StoreUnavailable
from afterword.model.audit import KEPT_DAYS
from afterword.store.locks import Locks
from afterword.store.parts import OCCURRENCE_KEPT, Lost, Values
from afterword.store.postgres.rows import Fate, lost_again_rows, lost_attempt_rows, lost_final_rows
from afterword.store.postgres.settling import Settling, end_followers
from afterword.store.postgres.writer import Writer
from afterword.store.protocol import Recovered

_FIRST_ID = "00000000-0000-0000-0000-000000000000"  # no job has it, all come behind it


class Upkeep:
    """Keeps the list of workers, and clears up behind those that were lost."""

    def __init__(self, writer: Writer, locks: Locks, settling: Settling) -> None:
        self._writer = writer
        self._locks = locks
        self._settling = settling
        self._looked_to = _FIRST_ID  # the job at which `free_followers` ended

    def join(
        self, worker: str, lease: float, queues: Sequence[str] = (), concurrency: int = 0
    ) -> None:
        """Announce a worker, and hold its lock before it can be seen."""
        with self._writer.session.errors(), self._lock_errors():
            self._locks.hold(worker)
        values = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": list(queues),
            "concurrency": concurrency,
            "lease": lease,
        }
        with self._writer.transaction():
            self._writer.execute("join", values)

    @contextmanager
    def _lock_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"A lock file cannot be created: {error}.") from error

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease, unless it has been taken off the list.

        A commit in doubt may have given this worker jobs, so it gets a new id.
        """
        with self._writer.transaction():
            renewed = bool(self._writer.execute("renew", {"worker": worker, "lease": lease}))
        session = self._writer.session
        in_doubt, session.in_doubt = session.in_doubt, False
        return renewed and not in_doubt

    def retire(self, worker: str) -> None:
        """Note that the worker is shutting down."""
        with self._writer.transaction():
            self._writer.execute("retire", {"worker": worker})

    def leave(self, worker: str) -> None:
        """Take the worker off the list and drop its lock."""
        with self._writer.transaction():
            self._writer.execute("leave", {"worker": worker})
        self._locks.drop(worker)

    def purge(self, retention: float, limit: int) -> int:
        """Delete the oldest history, and the starts that no rate counts any more."""
        values = {
            "retention": retention,
            "occurrence_kept": OCCURRENCE_KEPT,
            "limit": limit,
            "audit_days": KEPT_DAYS,
        }
        ((purged,),) = self._writer.ask("purge", values)
        return int(purged)

    def recover(
        self, limit: int, lease: float, held_by: str | None = None, known: Sequence[str] = ()
    ) -> Sequence[Recovered]:
        """Take the jobs of workers that died, let their lease run out, or lost track of them."""
        ((members, lost),) = self._writer.ask("members")
        dead = [worker for worker in members if self._locks.is_dead(worker)]
        if not dead and not lost and held_by is None:
            return []  # the usual case
        values = {"limit": limit, "held_by": held_by, "known": list(known)}
        try:
            with self._writer.transaction():
                gone, fates = self._lost(dead, values, lease)
                recovered = self._recover(fates)
        except StoreUnavailable:
            raise
        except StoreError:  # the database refuses to move one of them
            with self._writer.transaction():
                gone, fates = self._lost(dead, values, lease)
            recovered = [each for fate in fates for each in self._recover_apart(fate)]
        for worker in gone:
            self._locks.drop(worker)
        return recovered

    def free_followers(self, limit: int) -> int:
        """Free jobs whose predecessor does not exist; the next call continues behind these."""
        values = {"last": self._looked_to, "limit": limit}
        ((looked, last, missing),) = self._writer.ask("missing", values)
        self._looked_to = last if looked == limit else _FIRST_ID
        if missing:
            with self._writer.transaction():
                rows = self._writer.execute("hold_not_completed", {"ids": missing})
                failed = [row[0] for row in rows]
                if end_followers(self._writer.session, dict.fromkeys(missing), failed):
                    self._writer.claimable()
        return len(missing)

    def _lost(
        self, dead: Sequence[str], values: Values, lease: float
    ) -> tuple[Sequence[str], Sequence[Fate]]:
        """Return the workers that are gone, and decide on the jobs of lost workers."""
        gone = [worker for (worker,) in self._writer.execute("expel", {"dead": dead})]
        return gone, [_fate(Lost(*row), lease) for row in self._writer.execute("lost", values)]

    def _recover_apart(self, fate: Fate) -> Sequence[Recovered]:
        try:
            with self._writer.transaction():
                return self._recover([fate])
        except StoreUnavailable:
            raise
        except StoreError as error:
            telemetry.not_recovered(fate.job.id, error)
            return []

    def _recover(self, fates: Sequence[Fate]) -> Sequence[Recovered]:
        """Recover lost jobs; those that a failed one has stopped are left out of the answer."""
        ending = [each for each in fates if each.state.final]
        again = [each for each in fates if not each.state.final]
        done = self._settling.finish(lost_final_rows(ending)) if ending else set()
        done |= self._settling.queue_again("requeue", lost_again_rows(again)) if again else set()
        over = [each for each in again if each.fence in done]
        if over:
            self._settling.keep_attempts(lost_attempt_rows(over))
        return [each.recovered for each in fates if each.fence in done]


def _fate(job: Lost, lease: float) -> Fate:
    return Fate(job, job.outcome(lease), lost=not job.retired)
