"""End attempts: give back, take out, settle or cancel them; stop or free their followers."""

from collections.abc import Collection, Mapping, Sequence

from afterword.model.job import SUCCESSES, JobState
from afterword.model.outcome import Cancelled
from afterword.store.parts import (
    ATTEMPTS_KEPT,
    Fence,
    Row,
    Values,
    fence_of,
    fence_values,
    final_state,
    first_of_each,
    first_outcomes,
    logs_of,
)
from afterword.store.postgres.adding import Adding
from afterword.store.postgres.rows import (
    again_rows,
    attempt_rows,
    columns,
    final_rows,
    log_rows,
    release_rows,
    report_rows,
)
from afterword.store.postgres.session import Session
from afterword.store.postgres.writer import Writer
from afterword.store.protocol import STOPPED, Cancelling, Claim, Putback, Report, Settlement


def end_followers(
    session: Session, ended: Mapping[str, str | None], failed: Collection[str]
) -> bool:
    """Stop or free the followers of jobs that have ended; True if some may run now.

    Args:
        ended: each with the job that it waited for.
    """
    gone, stopping = dict(ended), list(failed)
    while stopping:
        # And again behind those: until one is locked, a job may still be added behind it.
        rows = session.execute("stop", {"ids": stopping, "reason": STOPPED})
        gone.update(rows)
        stopping = [row[0] for row in rows]
    return bool(gone and _free(session, gone))


def _free(session: Session, gone: Mapping[str, str | None]) -> list[Row]:
    """Let followers wait for the predecessors of the removed jobs."""
    before = {job_id: _before(job_id, gone) for job_id in sorted(gone)}
    if held := [after for after in before.values() if after is not None]:
        session.execute("hold_predecessors", {"ids": held})
    values = {"ids": list(before), "afters": list(before.values())}
    return session.execute("follow_stopped", values)


def _before(job_id: str, gone: Mapping[str, str | None]) -> str | None:
    for _ in gone:
        after = gone[job_id]
        if after is None or after not in gone:
            return after
        job_id = after
    return None  # rows were edited into a circle


def hold_place(session: Session, ids: Sequence[str], states: Sequence[str]) -> None:
    """Lock jobs that are about to be taken out, so that their followers can move up.

    First the jobs they wait for, in the order in which these are locked to be ended. A transaction
    that adds behind these jobs now is waited for, and seen by the next statement.
    """
    while not session.keep(lambda: _hold_place(session, ids, states)):
        pass  # its locks are free again: behind them, others could not be waited for


def _hold_place(session: Session, ids: Sequence[str], states: Sequence[str]) -> bool:
    """False: they have moved up meanwhile; their new predecessors would be locked behind them."""
    values = {"ids": ids, "states": states}
    before = session.execute("hold_before", values)
    locked = session.execute("lock", values)
    held = {row[0] for row in (*before, *locked)}
    return all(after in held for _, after in locked if after is not None)


def cancel_queued(session: Session, reasons: Mapping[str, str]) -> tuple[set[str], bool]:
    """End those of these jobs that are queued; return them, and True if others may run now."""
    values = {"ids": list(reasons), "reasons": list(reasons.values())}
    cancelled: dict[str, str | None] = dict(session.execute("cancel", values))
    return set(cancelled), end_followers(session, cancelled, cancelled)


class Settling:
    """Ends attempts.

    Args:
        adding: adds the jobs that an attempt leaves behind.
    """

    def __init__(self, writer: Writer, adding: Adding) -> None:
        self._writer = writer
        self._adding = adding

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self._writer.transaction():
            again = release_rows(putbacks)
            released = self.queue_again("release", again)
        return first_of_each([fence_of(each.claim) for each in putbacks], released)

    def queue_again(self, statement: str, again: Values) -> set[Fence]:
        """Queue running jobs again, or cancel those that were asked to end."""
        rows = self._writer.execute(statement, again)
        unwanted = {job_id: reason for job_id, *_, reason in rows if reason is not None}
        if unwanted:
            cancel_queued(self._writer.session, unwanted)
        if rows:
            self._writer.claimable()
        return {row[:4] for row in rows}

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self._writer.transaction():
            if reason is not None:
                return self._cancel_held(claims, reason)
            hold_place(self._writer.session, [claim.id for claim in claims], ["running"])
            return [self._discard(claim) for claim in claims]

    def _cancel_held(self, claims: Sequence[Claim], reason: str) -> Sequence[bool]:
        rows = self._writer.execute("shared", {"ids": [each.id for each in claims]})
        shared = {row[0] for row in rows}
        stopped = [each for each in claims if each.id not in shared]
        ended = self.settle([Settlement(each, Cancelled(reason)) for each in stopped])
        done = dict(zip((each.id for each in stopped), ended, strict=True))
        given_back = [each for each in claims if each.id in shared]
        again = self.release([Putback(each) for each in given_back])
        done.update(zip((each.id for each in given_back), again, strict=True))
        return [done[each.id] for each in claims]

    def _discard(self, claim: Claim) -> bool:
        rows = self._writer.execute("discard", fence_values(claim))
        if rows and (rows[0][0] or claim.limited):
            self._writer.claimable()
        return bool(rows) or self.release([Putback(claim)])[0]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        outcomes = first_outcomes(settlements)
        first = list(outcomes.values())
        ending = [
            (each, state) for each in first if (state := final_state(each.outcome)) is not None
        ]
        again = [each for each in first if final_state(each.outcome) is None]
        with self._writer.transaction():
            accepted = self.finish(final_rows(ending)) if ending else set()
            accepted |= self._requeue(again) if again else set()
            ours = (each for each in first if fence_of(each.claim) in accepted)
            if children := [job for each in ours for job in each.children]:
                self._adding.add(children)
            if logs := logs_of(outcomes, accepted):
                self._writer.execute("keep_logs", log_rows(logs))
        return first_of_each([fence_of(each.claim) for each in settlements], accepted)

    def _requeue(self, settlements: Sequence[Settlement]) -> set[Fence]:
        accepted = self.queue_again("requeue", again_rows(settlements))
        over = [each for each in settlements if fence_of(each.claim) in accepted]
        if over:
            self.keep_attempts(attempt_rows(over))
        return accepted

    def keep_attempts(self, rows: Values) -> None:
        """Record attempts that did not end their jobs, in place of those long ago."""
        self._writer.execute("attempt", rows)
        old = [
            (job_id, attempt - ATTEMPTS_KEPT)
            for job_id, attempt in zip(rows["ids"], rows["attempts"], strict=True)
            if attempt > ATTEMPTS_KEPT
        ]
        if old:
            self._writer.execute("forget_earlier", columns("ids lasts", old))

    def finish(self, final: Values) -> set[Fence]:
        """Move jobs to the history, and free the jobs that waited for them or for their place."""
        finishing = self._writer.send("finish", final)
        # Sent along before it is known which ones were ours: a job that is still there frees none.
        states = zip(final["ids"], final["states"], strict=True)
        done = [job_id for job_id, state in states if state in SUCCESSES]
        free = bool(done and self._writer.execute("follow", {"ids": done}))
        rows = finishing.fetchall()
        failed = {row[0]: row[5] for row in rows if row[4] not in SUCCESSES}
        free = end_followers(self._writer.session, failed, failed) or free
        # What was cancelled may be waited for by the next one with its key.
        if free or any(limited or state == JobState.CANCELLED for *_, state, _, limited in rows):
            self._writer.claimable()
        return {row[:4] for row in rows}

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write the progress of running attempts; of two for one attempt, the last counts."""
        last = {fence_of(each.claim): each for each in reports}
        with self._writer.transaction():
            accepted = set(self._writer.execute("report", report_rows(list(last.values()))))
        return [fence_of(each.claim) in accepted for each in reports]

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """Return the running attempts of a worker that were asked to end."""
        return [Cancelling(*row) for row in self._writer.ask("cancelling", {"worker": worker})]
