"""How attempts end: outcomes, workers that were lost, and what becomes of those who waited."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from afterword import telemetry
from afterword.errors import StoreError, StoreUnavailable
from afterword.model.job import JobState
from afterword.model.outcome import Cancelled
from afterword.store.locks import Locks
from afterword.store.postgres.adding import Adding
from afterword.store.postgres.rows import (
    Fate,
    Fence,
    again_rows,
    attempt_rows,
    fence,
    final_rows,
    lost_again_rows,
    lost_attempt_rows,
    lost_final_rows,
    release_rows,
    report_rows,
)
from afterword.store.postgres.session import Session
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

FIRST_ID = "00000000-0000-0000-0000-000000000000"  # no job has it, all come behind it


def end_followers(session: Session, ended: Iterable[str], failed: Collection[str]) -> bool:
    """Stop or free those who waited for jobs that have ended; whether some may run now."""
    ids, stopping = set(ended), list(failed)
    while stopping:
        # And again behind those: until one is locked, a job may still be added behind it.
        rows = session.execute("stop", {"ids": stopping, "reason": STOPPED})
        stopping = [row[0] for row in rows]
        ids.update(stopping)
    return bool(ids and session.execute("follow", {"ids": sorted(ids)}))


def hold_place(session: Session, ids: Sequence[str], state: str) -> None:
    """Lock jobs that are about to be taken out, so that their followers can move up.

    First what they wait for, in the order in which those lock who end it. Whoever adds behind these
    jobs now is waited for, and seen by the next statement.
    """
    held = {row[0] for row in session.execute("hold_before", {"ids": ids})}
    locked = session.execute("lock", {"ids": ids, "states": [state]})
    if any(after not in held for _, after in locked if after is not None):
        session.execute("hold_before", {"ids": ids})  # they have moved up themselves meanwhile


def cancel_queued(session: Session, reasons: Mapping[str, str]) -> tuple[set[str], bool]:
    """End those of these jobs that are queued: which ones, and whether others may run now."""
    values = {"ids": list(reasons), "reasons": list(reasons.values())}
    cancelled = {row[0] for row in session.execute("cancel", values)}
    return cancelled, end_followers(session, cancelled, cancelled)


class Settling(Adding):
    """The part of the PostgreSQL store that ends attempts."""

    _locks: Locks
    _looked_to: str  # the job that others wait for at which `free_followers` has ended

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self.transaction():
            again = release_rows(putbacks)
            released = self._queue_again("release", again)
        return first_of_each([fence(each.claim) for each in putbacks], released)

    def _queue_again(self, statement: str, again: Values) -> set[Fence]:
        """Queue running jobs again, except those that somebody wanted to end: they have."""
        rows = self._write(statement, again)
        unwanted = {job_id: reason for job_id, *_, reason in rows if reason is not None}
        if unwanted:
            cancel_queued(self._writer, unwanted)
        if rows:
            self._announce()
        return {row[:4] for row in rows}

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self.transaction():
            if reason is not None:
                return self._cancel_held(claims, reason)
            hold_place(self._writer, [claim.id for claim in claims], "running")
            return [self._discard(claim) for claim in claims]

    def _cancel_held(self, claims: Sequence[Claim], reason: str) -> Sequence[bool]:
        shared = {row[0] for row in self._write("shared", {"ids": [each.id for each in claims]})}
        stopped = [each for each in claims if each.id not in shared]
        ended = self.settle([Settlement(each, Cancelled(reason)) for each in stopped])
        done = dict(zip((each.id for each in stopped), ended, strict=True))
        given_back = [each for each in claims if each.id in shared]
        again = self.release([Putback(each) for each in given_back])
        done.update(zip((each.id for each in given_back), again, strict=True))
        return [done[each.id] for each in claims]

    def _discard(self, claim: Claim) -> bool:
        values = dict(zip(("id", "attempt", "worker", "fence"), fence(claim), strict=True))
        rows = self._write("discard", values)
        if rows and (rows[0][0] or claim.limited):
            self._announce()
        return bool(rows) or self.release([Putback(claim)])[0]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        first = _first_of_each(settlements)
        ending = [
            (each, state) for each in first if (state := final_state(each.outcome)) is not None
        ]
        again = [each for each in first if final_state(each.outcome) is None]
        with self.transaction():
            accepted = self._finish(final_rows(ending)) if ending else set()
            accepted |= self._requeue(again) if again else set()
            ours = (each for each in first if fence(each.claim) in accepted)
            if children := [job for each in ours for job in each.children]:
                self.add(children)
        return first_of_each([fence(each.claim) for each in settlements], accepted)

    def _requeue(self, settlements: Sequence[Settlement]) -> set[Fence]:
        accepted = self._queue_again("requeue", again_rows(settlements))
        over = [each for each in settlements if fence(each.claim) in accepted]
        if over:
            self._write("attempt", attempt_rows(over))
        return accepted

    def _finish(self, final: Values) -> set[Fence]:
        """Move jobs to the history, and tell those who waited for them or for their place."""
        finishing = self._writer.send("finish", final)
        # Sent along, though nobody knows yet which ones were ours: who is still there frees nobody.
        states = zip(final["ids"], final["states"], strict=True)
        completed = [job_id for job_id, state in states if state == JobState.COMPLETED]
        free = bool(completed and self._write("follow", {"ids": completed}))
        rows = finishing.fetchall()
        failed = [row[0] for row in rows if row[4] != JobState.COMPLETED]
        free = end_followers(self._writer, failed, failed) or free
        # What was cancelled may be waited for by the next one with its key.
        if free or any(limited or state == JobState.CANCELLED for *_, state, limited in rows):
            self._announce()
        return {row[:4] for row in rows}

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write how far running attempts have come; of two for one attempt, the last counts."""
        last = {fence(each.claim): each for each in reports}
        with self.transaction():
            accepted = set(self._write("report", report_rows(list(last.values()))))
        return [fence(each.claim) in accepted for each in reports]

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """The attempts of a worker that somebody wants to end."""
        self._require_open()
        return [Cancelling(*row) for row in self._writer.ask("cancelling", {"worker": worker})]

    # ------------------------------------------------------------------ lost workers

    def recover(
        self, limit: int, lease: float, held_by: str | None = None, known: Sequence[str] = ()
    ) -> Sequence[Recovered]:
        """Take the jobs of workers that died, let their lease run out, or lost track of them."""
        self._require_open()
        ((members, lost),) = self._writer.ask("members")
        dead = [worker for worker in members if self._locks.is_dead(worker)]
        if not dead and not lost and held_by is None:
            return []  # the usual case
        values = {"limit": limit, "held_by": held_by, "known": list(known)}
        try:
            with self.transaction():
                gone, fates = self._lost(dead, values, lease)
                recovered = self._recover(fates)
        except StoreUnavailable:
            raise
        except StoreError:  # the database refuses to move one of them
            with self.transaction():
                gone, fates = self._lost(dead, values, lease)
            recovered = [each for fate in fates for each in self._recover_apart(fate)]
        for worker in gone:
            self._locks.drop(worker)
        return recovered

    def free_followers(self, limit: int) -> int:
        """Look for what waits for a job that is not there, and go on from there the next time."""
        self._require_open()
        values = {"last": self._looked_to, "limit": limit}
        ((looked, last, missing),) = self._writer.ask("missing", values)
        self._looked_to = last if looked == limit else FIRST_ID
        if missing:
            with self.transaction():
                failed = [row[0] for row in self._write("hold_not_completed", {"ids": missing})]
                if end_followers(self._writer, missing, failed):
                    self._announce()
        return len(missing)

    def _lost(
        self, dead: Sequence[str], values: Values, lease: float
    ) -> tuple[Sequence[str], Sequence[Fate]]:
        """The workers that are gone, and what becomes of the jobs of lost workers."""
        gone = [worker for (worker,) in self._write("expel", {"dead": dead})]
        return gone, [_fate(Lost(*row), lease) for row in self._write("lost", values)]

    def _recover_apart(self, fate: Fate) -> Sequence[Recovered]:
        try:
            with self.transaction():
                return self._recover([fate])
        except StoreUnavailable:
            raise
        except StoreError as error:
            telemetry.not_recovered(fate.job.id, error)
            return []

    def _recover(self, fates: Sequence[Fate]) -> Sequence[Recovered]:
        """What became of lost jobs; those that the failed ones have stopped are left out."""
        ending = [each for each in fates if each.state.final]
        again = [each for each in fates if not each.state.final]
        done = self._finish(lost_final_rows(ending)) if ending else set()
        done |= self._queue_again("requeue", lost_again_rows(again)) if again else set()
        over = [each for each in again if each.fence in done]
        if over:
            self._write("attempt", lost_attempt_rows(over))
        return [each.recovered for each in fates if each.fence in done]


def _first_of_each(settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Of two outcomes for one attempt the first one counts."""
    first: dict[Fence, Settlement] = {}
    for each in settlements:
        first.setdefault(fence(each.claim), each)
    return list(first.values())


def _fate(job: Lost, lease: float) -> Fate:
    return Fate(job, job.outcome(lease), lost=not job.retired)
