"""How attempts end: given back, settled, or lost with their worker."""

import json
from collections.abc import Sequence

from afterword import telemetry
from afterword.errors import StoreError, StoreUnavailable
from afterword.model.job import JobState
from afterword.model.outcome import Cancelled, Completed
from afterword.store.locks import Locks
from afterword.store.protocol import (
    STOPPED,
    Cancelling,
    Claim,
    Putback,
    Recovered,
    Report,
    Settlement,
)
from afterword.store.rows import Lost, Values, final_state, first_of_each
from afterword.store.sqlite.actions import Actions
from afterword.store.sqlite.adding import Adding
from afterword.store.sqlite.lease_clock import LeaseClock
from afterword.store.sqlite.rows import (
    again_row,
    attempt_row,
    completed_row,
    fence,
    final_row,
    lost_row,
    release_row,
)
from afterword.store.sqlite.user_transaction import followed_by

_Key = tuple[str, int, str, int | None]  # what a write that ends an attempt must match


class Settling(Actions, Adding):
    """The part of the SQLite store that ends attempts."""

    _locks: Locks
    _lease_clock: LeaseClock
    _limited: frozenset[str]  # queues with a limit of their own
    _looked_to: str  # the job that others wait for at which `free_followers` has ended

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        now = self._clock.now()
        with self.transaction():
            accepted = [self._queue_again("release", release_row(each, now)) for each in putbacks]
        self._ready = True
        return accepted

    def _queue_again(self, statement: str, again: Values) -> bool:
        """Queue a running job again, unless somebody wanted it to end: then it has."""
        rows = self._database.write(statement, again)
        for (reason,) in rows:
            if reason is not None:
                self._cancel(again["id"], reason)
        return bool(rows)

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self.transaction():
            return [self._discard(claim, reason) for claim in claims]

    def _discard(self, claim: Claim, reason: str | None) -> bool:
        if reason is not None and not self._database.write("shared", {"id": claim.id}):
            return self.settle([Settlement(claim, Cancelled(reason))])[0]
        rows = self._database.write("discard", fence(claim)) if reason is None else []
        for (after,) in rows:
            moved = bool(self._database.write("move_up", {"id": claim.id, "after": after}))
            self._ready = self._ready or moved or claim.limited
        return bool(rows) or self.release([Putback(claim)])[0]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        first = {_key(each.claim): each for each in reversed(settlements)}  # of two for one attempt
        completed = [each for each in first.values() if isinstance(each.outcome, Completed)]
        others = [each for each in first.values() if not isinstance(each.outcome, Completed)]
        with self.transaction():
            accepted = self._complete(completed, now) if completed else set()
            accepted.update(_key(each.claim) for each in others if self._end_attempt(each, now))
            for key, each in first.items():
                if each.children and key in accepted:
                    self.add(each.children)
        # Others may have waited for their places.
        self._ready = self._ready or any(
            each.claim.limited or each.claim.queue in self._limited for each in settlements
        )
        return first_of_each([_key(each.claim) for each in settlements], accepted)

    def _complete(self, settlements: Sequence[Settlement], now: float) -> set[_Key]:
        """Move completed jobs to the history; three statements for any number of them.

        Of several claims of one job at most one is ours: one after the other tells which.
        """
        first = {each.claim.id: each for each in reversed(settlements)}
        ended = json.dumps([completed_row(each, now) for each in first.values()])
        finished = self._database.write("complete", {"ended": ended, "now": now})
        values = {"ids": json.dumps([row[0] for row in finished])}
        for statement in followed_by(JobState.COMPLETED):
            self._ready = bool(self._database.write(statement, values)) or self._ready
        accepted = {_key(first[job_id].claim) for (job_id,) in finished}
        left = [each for each in settlements if first[each.claim.id] is not each]
        return accepted | (self._complete(left, now) if left else set())

    def _end_attempt(self, settlement: Settlement, now: float) -> bool:
        state = final_state(settlement.outcome)
        if state is not None:
            return self._finish(final_row(settlement, state, now))
        self._ready = True
        if not self._queue_again("requeue", again_row(settlement, now)):
            return False
        self._database.write("attempt", attempt_row(settlement, now))
        return True

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write how far running attempts have come."""
        with self.transaction():
            return [
                bool(
                    self._database.write("report", {**fence(each.claim), "progress": each.progress})
                )
                for each in reports
            ]

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """The attempts of a worker that somebody wants to end."""
        return [Cancelling(*row) for row in self._database.look("cancelling", {"worker": worker})]

    def _finish(self, final: Values) -> bool:
        """Move a job that did not complete to the history, and what stops with it."""
        if not self._database.write("finish", final):
            return False
        for statement in followed_by(final["state"]):
            self._ready = bool(self._database.write(statement, final)) or self._ready
        # What was cancelled may be waited for by the next one with its key.
        self._ready = self._ready or final["state"] == JobState.CANCELLED
        return True

    # ------------------------------------------------------------------ upkeep

    def recover(
        self, limit: int, lease: float, held_by: str | None = None, known: Sequence[str] = ()
    ) -> Sequence[Recovered]:
        """Take the jobs of workers that died, let their lease run out, or lost track of them."""
        now = self._clock.now()
        self._database.require_same_file()
        self._database.warn_of_growth()
        with self._database.errors():
            gone = self._gone()
        values = {"limit": limit, "held_by": held_by, "known": json.dumps(list(known))}
        if not gone and not self._database.look("lost", {**values, "limit": 1}):
            return []  # the usual case writes nothing
        with self.transaction():
            gone = self._gone()  # again under the lock: a lease may have been renewed meanwhile
            for worker in gone:
                self._take_off(worker)
            lost = [Lost(*row) for row in self._database.write("lost", values)]
            recovered = [each for job in lost if (each := self._recover_apart(job, now, lease))]
        for worker in gone:
            self._locks.drop(worker)
        self._ready = self._ready or bool(recovered)
        return recovered

    def free_followers(self, limit: int) -> int:
        """Look for what waits for a job that is not there, and go on from there the next time."""
        rows = self._database.read("missing", {"last": self._looked_to, "limit": limit})
        self._looked_to = rows[-1][0] if len(rows) == limit else ""
        missing = [after for after, is_missing in rows if is_missing]
        if missing:
            with self.transaction():
                for job_id in missing:
                    self._free_behind(job_id)
        return len(missing)

    def _free_behind(self, job_id: str) -> None:
        """Let go on what waits for this job, or end it with it, if the job is still not there."""
        values = {
            "id": job_id,
            "ids": json.dumps([job_id]),
            "stopped": STOPPED,
            "now": self._clock.now(),
        }
        for (state,) in self._database.write("fate", values):
            for statement in followed_by(state or JobState.COMPLETED):
                self._ready = bool(self._database.write(statement, values)) or self._ready

    def _take_off(self, worker: str) -> None:
        """Take a worker off the list."""
        for statement in ("remember_retired", "leave"):
            self._database.write(statement, {"worker": worker})

    def _gone(self) -> list[str]:
        """The workers that died or let their lease run out."""
        rows = self._database.write("leases", {})
        self._lease_clock.forget_all_but({row[0] for row in rows})
        return [
            worker
            for worker, expires_at, lease in rows
            if self._lease_clock.note(worker, expires_at) >= lease or self._locks.is_dead(worker)
        ]

    def _recover_apart(self, job: Lost, now: float, lease: float) -> Recovered | None:
        """As `_recover`; a job that the database refuses to move keeps nobody else's."""
        try:
            with self._database.savepoint():
                return self._recover(job, now, lease)
        except StoreUnavailable:
            raise
        except StoreError as error:
            telemetry.not_recovered(job.id, error)
            return None

    def _recover(self, job: Lost, now: float, lease: float) -> Recovered | None:
        """What became of a lost job; None if the poison before it has stopped it just now."""
        outcome = job.outcome(lease)
        state = final_state(outcome)
        lost = job.lost + (not job.retired)
        values = lost_row(job, outcome, now, lost=not job.retired)
        if state is not None:
            ended = self._finish({**values, "state": state.value})
        elif ended := bool(self._database.write("requeue", values)):
            self._database.write("attempt", values)
        return (
            Recovered(job.id, job.task, job.attempt, lost, state or JobState.QUEUED)
            if ended
            else None
        )


def _key(claim: Claim) -> _Key:
    return claim.id, claim.attempt, claim.worker, claim.fence
