"""How attempts end: outcomes, workers that were lost, and what becomes of those who waited."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from afterword.job import JobState
from afterword.outcome import Cancelled
from afterword.store import (
    STOPPED,
    Cancelling,
    Claim,
    Putback,
    Recovered,
    Report,
    Settlement,
)
from afterword.stores.locks import Locks
from afterword.stores.postgres.adding import Adding
from afterword.stores.postgres.rows import (
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
from afterword.stores.postgres.session import Session
from afterword.stores.rows import Lost, Values, final_state, first_of_each


def end_followers(session: Session, ended: Iterable[str], failed: Collection[str]) -> bool:
    """Stop or free those who waited for jobs that have ended; whether some may run now."""
    ids = set(ended)
    if failed:
        stopped = session.execute("stop", {"ids": list(failed), "reason": STOPPED})
        ids |= {row[0] for row in stopped}
    return bool(ids and session.execute("follow", {"ids": sorted(ids)}))


def cancel_queued(session: Session, reasons: Mapping[str, str]) -> tuple[set[str], bool]:
    """End those of these jobs that are queued: which ones, and whether others may run now."""
    values = {"ids": list(reasons), "reasons": list(reasons.values())}
    cancelled = {row[0] for row in session.execute("cancel", values)}
    return cancelled, end_followers(session, cancelled, cancelled)


class Ending(Adding):
    """The part of the PostgreSQL store that ends attempts."""

    _locks: Locks

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self.transaction():
            again = release_rows(putbacks, self._clock.now())
            released = self._queue_again("release", again)
        return first_of_each([fence(each.claim) for each in putbacks], released)

    def _queue_again(self, statement: str, again: Values) -> set[Fence]:
        """Queue running jobs again, except those that somebody wanted to end: they have."""
        rows = self._write(statement, again)
        unwanted = {job_id: reason for job_id, _, _, reason in rows if reason is not None}
        if unwanted:
            cancel_queued(self._writer, unwanted)
        if rows:
            self._announce()
        return {row[:3] for row in rows}

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self.transaction():
            if reason is not None:
                return self._cancel_held(claims, reason)
            self._write("hold_before", {"ids": [claim.id for claim in claims]})
            return [self._discard(claim) for claim in claims]

    def _cancel_held(self, claims: Sequence[Claim], reason: str) -> Sequence[bool]:
        shared = {row[0] for row in self._write("shared", {"ids": [each.id for each in claims]})}
        stopped = [each for each in claims if each.id not in shared]
        ended = self.settle(
            [Settlement(each, Cancelled(reason), each.created_at) for each in stopped]
        )
        done = dict(zip((each.id for each in stopped), ended, strict=True))
        given_back = [each for each in claims if each.id in shared]
        again = self.release([Putback(each) for each in given_back])
        done.update(zip((each.id for each in given_back), again, strict=True))
        return [done[each.id] for each in claims]

    def _discard(self, claim: Claim) -> bool:
        values = dict(zip(("id", "attempt", "worker"), fence(claim), strict=True))
        rows = self._write("discard", values)
        if rows and (rows[0][0] or claim.limited):
            self._announce()
        return bool(rows) or self.release([Putback(claim)])[0]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        first = _first_of_each(settlements)
        ending = [
            (each, state) for each in first if (state := final_state(each.outcome)) is not None
        ]
        again = [each for each in first if final_state(each.outcome) is None]
        with self.transaction():
            accepted = self._finish(final_rows(ending, now)) if ending else set()
            accepted |= self._requeue(again, now) if again else set()
            ours = (each for each in first if fence(each.claim) in accepted)
            if children := [job for each in ours for job in each.children]:
                self.add(children)
        return first_of_each([fence(each.claim) for each in settlements], accepted)

    def _requeue(self, settlements: Sequence[Settlement], now: float) -> set[Fence]:
        accepted = self._queue_again("requeue", again_rows(settlements, now))
        over = [each for each in settlements if fence(each.claim) in accepted]
        if over:
            self._write("attempt", attempt_rows(over, now))
        return accepted

    def _finish(self, final: Values) -> set[Fence]:
        """Move jobs to the history, and tell those who waited for them or for their place."""
        finishing = self._writer.send("finish", final)
        # Sent along, though nobody knows yet which ones were ours: who is still there frees nobody.
        states = zip(final["ids"], final["states"], strict=True)
        completed = [job_id for job_id, state in states if state == JobState.COMPLETED]
        free = bool(completed and self._write("follow", {"ids": completed}))
        rows = finishing.fetchall()
        failed = [row[0] for row in rows if row[3] != JobState.COMPLETED]
        free = end_followers(self._writer, failed, failed) or free
        if free or any(limited for *_, limited in rows):
            self._announce()
        return {row[:3] for row in rows}

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

    def recover(self, limit: int, lease: float) -> Sequence[Recovered]:
        """Take the jobs of workers that died or let their lease run out."""
        self._require_open()
        ((members, lost),) = self._writer.ask("members")
        dead = [worker for worker in members if self._locks.is_dead(worker)]
        if not dead and not lost:
            return []  # the usual case
        with self.transaction():
            gone: dict[str, bool] = {row[0]: row[1] for row in self._write("expel", {"dead": dead})}
            rows = self._write("lost", {"limit": limit})
            fates = [_fate(Lost(*row), gone, lease) for row in rows]
            recovered = self._recover(fates)
        for worker in gone:
            self._locks.drop(worker)
        return recovered

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


def _fate(job: Lost, gone: Mapping[str, bool], lease: float) -> Fate:
    retired = gone.get(job.worker, False)
    return Fate(job, job.outcome(retired=retired, lease=lease), lost=not retired)
