"""End attempts: give back, take out, settle or cancel them."""

import json
from collections.abc import Sequence

from afterword.model.clock import Clock
from afterword.model.job import SUCCESSES, JobState
from afterword.model.outcome import Cancelled, Completed, HandedOver, Released, RetryAt
from afterword.store.parts import (
    ATTEMPTS_KEPT,
    INTERRUPTED,
    Fence,
    Row,
    Values,
    attempt_outcome,
    fence_of,
    fence_values,
    final_error,
    final_result,
    final_state,
    first_of_each,
    first_outcomes,
    logs_of,
)
from afterword.store.protocol import STOPPED, Cancelling, Claim, Putback, Report, Settlement
from afterword.store.sqlite.adding import Adding
from afterword.store.sqlite.claiming import Claiming
from afterword.store.sqlite.writer import Writer

# The statements behind the one that moves a job to the history.
SUCCEEDED = ("remove", "follow")
NOT_SUCCEEDED = ("stop", "follow_stopped", "remove_stopped")
_DONE = (Completed, HandedOver)


def followed_by(state: str) -> Sequence[str]:
    """Return the statements behind the one that ended a job in this state."""
    return SUCCEEDED if state in SUCCESSES else NOT_SUCCEEDED


class Settling:
    """Ends attempts.

    Args:
        adding: adds the jobs that an attempt leaves behind.
        claiming: knows the queues whose jobs wait for a place.
    """

    def __init__(self, writer: Writer, clock: Clock, adding: Adding, claiming: Claiming) -> None:
        self._writer = writer
        self._clock = clock
        self._adding = adding
        self._claiming = claiming

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        now = self._clock.now()
        with self._writer.transaction():
            return [self.queue_again("release", release_row(each, now)) for each in putbacks]

    def queue_again(self, statement: str, again: Values) -> bool:
        """Queue a running job again, or cancel it if it was asked to end; False: not ours."""
        rows = self._writer.write(statement, again)
        for (reason,) in rows:
            self._writer.claimable()
            if reason is not None:
                self.cancel_queued(again["id"], reason)
        return bool(rows)

    def cancel_queued(self, job_id: str, reason: str) -> bool:
        """End a queued job, and those that stop with it; False: it is not queued."""
        values = {"id": job_id, "reason": reason, "stopped": STOPPED, "now": self._clock.now()}
        if not self._writer.write("cancel", values):
            return False
        self._writer.write("free_slot", values)
        self.execute_behind(NOT_SUCCEEDED, values)
        return True

    def execute_behind(self, statements: Sequence[str], values: Values) -> None:
        """Execute the statements behind the end of a job; each row is a job that may run now."""
        for statement in statements:
            if self._writer.write(statement, values):
                self._writer.claimable()

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self._writer.transaction():
            return [self._discard(claim, reason) for claim in claims]

    def _discard(self, claim: Claim, reason: str | None) -> bool:
        if reason is not None and not self._writer.write("shared", {"id": claim.id}):
            return self.settle([Settlement(claim, Cancelled(reason))])[0]
        rows = self._writer.write("discard", fence_values(claim)) if reason is None else []
        for (after,) in rows:
            moved = self._writer.write("move_up", {"id": claim.id, "after": after})
            if moved or claim.limited:
                self._writer.claimable()
        return bool(rows) or self.release([Putback(claim)])[0]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        first = first_outcomes(settlements)
        done = [each for each in first.values() if isinstance(each.outcome, _DONE)]
        others = [each for each in first.values() if not isinstance(each.outcome, _DONE)]
        with self._writer.transaction():
            accepted = self._complete(done, now) if done else set()
            accepted.update(fence_of(each.claim) for each in others if self._end(each, now))
            for fence, each in first.items():
                if each.children and fence in accepted:
                    self._adding.add(each.children)
            if logs := logs_of(first, accepted):
                self._writer.write_many("keep_log", map(log_row, logs))
            if any(self._frees_a_place(each.claim) for each in settlements):
                self._writer.claimable()
        return first_of_each([fence_of(each.claim) for each in settlements], accepted)

    def _frees_a_place(self, claim: Claim) -> bool:
        """Return True if other jobs may wait for this one to end."""
        return claim.limited or claim.queue in self._claiming.limited_queues

    def _complete(self, settlements: Sequence[Settlement], now: float) -> set[Fence]:
        """Move jobs that succeeded to the history; a few statements for any number of them.

        Of several claims of one job at most one is ours: one after the other tells which.
        """
        first = {each.claim.id: each for each in reversed(settlements)}
        ended = json.dumps([succeeded_row(each, now) for each in first.values()])
        self._writer.write("complete", {"ended": ended, "now": now})
        ((moved,),) = self._writer.write("changes", {})
        ids = list(first) if moved == len(first) else self._held(ended)
        self.execute_behind(SUCCEEDED, {"ids": json.dumps(ids)})
        accepted = {fence_of(first[job_id].claim) for job_id in ids}
        if len(first) == len(settlements):
            return accepted
        left = [each for each in settlements if first[each.claim.id] is not each]
        return accepted | self._complete(left, now)

    def _held(self, ended: str) -> Sequence[str]:
        """Return the ids of those of these attempts that are still ours."""
        ((ids,),) = self._writer.write("held", {"ended": ended})
        return list(json.loads(ids))

    def _end(self, settlement: Settlement, now: float) -> bool:
        """End an attempt that did not succeed; False: it was not ours."""
        state = final_state(settlement.outcome)
        if state is not None:
            return self.finish(final_row(settlement, state, now))
        if not self.queue_again("requeue", again_row(settlement, now)):
            return False
        self.keep_attempt(attempt_row(settlement, now))
        return True

    def keep_attempt(self, values: Values) -> None:
        """Record an attempt that did not end its job, in place of one long ago."""
        self._writer.write("attempt", values)
        if (last := values["attempt"] - ATTEMPTS_KEPT) > 0:
            for statement in ("forget_attempt", "forget_log"):
                self._writer.write(statement, {"id": values["id"], "last": last})

    def finish(self, final: Values) -> bool:
        """Move a job that did not succeed to the history, and what stops with it."""
        if not self._writer.write("finish", final):
            return False
        self.execute_behind(followed_by(final["state"]), final)
        if final["state"] == JobState.CANCELLED:
            self._writer.claimable()  # the next job with its key may have waited for it
        return True

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write the progress of running attempts."""
        with self._writer.transaction():
            return [self._report(each) for each in reports]

    def _report(self, report: Report) -> bool:
        values = {**fence_values(report.claim), "progress": report.progress}
        return bool(self._writer.write("report", values))

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """Return the running attempts of a worker that were asked to end."""
        return [Cancelling(*row) for row in self._writer.look("cancelling", {"worker": worker})]


def log_row(settlement: Settlement) -> Values:
    """Return the values of keep_log.sql."""
    claim = settlement.claim
    return {"id": claim.id, "attempt": claim.attempt, "log": settlement.log}


def release_row(putback: Putback, now: float) -> Values:
    """Return the values of release.sql."""
    again = {"at": now + putback.delay, "reason": putback.reason, "now": now}
    return {**fence_values(putback.claim), **again}


def final_row(settlement: Settlement, state: JobState, now: float) -> Values:
    """Return the values of finish.sql, and of the statements behind it."""
    return {
        **fence_values(settlement.claim),
        "state": state.value,
        "error": final_error(settlement.outcome),
        "result": final_result(settlement.outcome),
        "started_at": now - settlement.seconds,
        "lost": 0,
        "stopped": STOPPED,
        "now": now,
    }


def succeeded_row(settlement: Settlement, now: float) -> Row:
    """Return the row that complete.sql reads for an attempt."""
    outcome, started_at = settlement.outcome, now - settlement.seconds
    fence = fence_of(settlement.claim)
    return (*fence, started_at, final_result(outcome), final_state(outcome))


def again_row(settlement: Settlement, now: float) -> Values:
    """Return the values of requeue.sql."""
    outcome = settlement.outcome
    retry = outcome if isinstance(outcome, RetryAt) else None
    return {
        **fence_values(settlement.claim),
        "at": now + (retry.delay if retry else 0.0),
        "error": retry.error if retry else INTERRUPTED,
        "interrupted": int(isinstance(outcome, Released)),
        "lost": 0,
        "failures": int(retry is not None),
    }


def attempt_row(settlement: Settlement, now: float) -> Values:
    """Return the values of attempt.sql, for an attempt whose job goes on."""
    again = again_row(settlement, now)
    outcome = attempt_outcome(settlement.outcome)
    return {**again, "outcome": outcome, "started_at": now - settlement.seconds, "now": now}
