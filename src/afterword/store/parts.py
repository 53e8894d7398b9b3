"""Functions and values that the parts of all stores use.

A store is made of parts, small objects that each do some of its verbs over one writer: `Adding`,
`Claiming`, `Settling`, `Upkeep`, `Scheduling`, `Queries`, `Actions` and `UserTransaction`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from afterword.model.job import JobOptions, JobState
from afterword.model.outcome import (
    MAX_INTERRUPTED,
    NEVER_ENDS,
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import MAX_LOST, Claim, Due, Settlement, recovery_delay

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]
Values = Mapping[str, Any]
Fence = tuple[str, int, str, int | None]  # the job's id, the attempt, its worker, its number

ATTEMPTS_KEPT = 100  # of a job: a hand-over is retried without end
UNSEEN = 180.0  # seconds after which no running code has a rule that was not declared again
# Seconds for which the job of an occurrence is kept after its end, even with a shorter `retention`.
# During a deployment two releases may have different rules of one schedule, and a cursor for each.
# If a time belongs to both rules, the later release finds the job, and adds none. A release that
# was stopped for more than UNSEEN starts from the present; the other minute is the time between two
# declarations.
OCCURRENCE_KEPT = UNSEEN + 60.0
INTERRUPTED = "interrupted by a shutdown"
POISON = f"poison: {MAX_LOST} workers were lost while they ran this job"
CRASHED = "its worker was lost, and its task is not to be run again after that (on_crash='fail')"

_FINAL: Mapping[type[Outcome], JobState] = {
    Completed: JobState.COMPLETED,
    HandedOver: JobState.HANDED_OVER,
    Failed: JobState.FAILED,
    Cancelled: JobState.CANCELLED,
}


def verb(part: str, method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Make the method of a store that calls this method of one of its parts.

    Args:
        part: the attribute of the store that holds the part.

    Example:
        class SQLiteStore:
            add = verb("_adding", Adding.add)
    """

    @functools.wraps(method)
    def call(store: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(getattr(store, part), *args, **kwargs)

    return call


def fence_of(claim: Claim) -> Fence:
    """Return the fence that a write that ends an attempt must match."""
    return claim.id, claim.attempt, claim.worker, claim.fence


def fence_values(claim: Claim) -> dict[str, Any]:
    """Return the fence as the values of a statement."""
    return {
        "id": claim.id,
        "attempt": claim.attempt,
        "worker": claim.worker,
        "fence": claim.fence,
    }


def first_of_each(wanted: Sequence[T], done: set[T]) -> list[bool]:
    """Answer for each whether it was done; of two equal ones the first counts.

    >>> first_of_each(["a", "b", "a"], {"a"})
    [True, False, False]
    """
    left = set(done)
    answers = []
    for each in wanted:
        answers.append(each in left)
        left.discard(each)
    return answers


# ---------------------------------------------------------------------- outcomes


def first_outcomes(settlements: Sequence[Settlement]) -> Mapping[Fence, Settlement]:
    """Return one outcome for each attempt: of two for one attempt, the first counts."""
    first: dict[Fence, Settlement] = {}
    for each in settlements:
        first.setdefault(fence_of(each.claim), each)
    return first


def final_state(outcome: Outcome) -> JobState | None:
    """Return the state a job ends in; None if it is to be queued again."""
    return _FINAL.get(type(outcome))


def final_error(outcome: Outcome) -> str | None:
    """Return the reason to keep of a job that did not complete."""
    if isinstance(outcome, Cancelled):
        return outcome.reason
    return outcome.error if isinstance(outcome, Failed) else None


def final_result(outcome: Outcome) -> str | None:
    """Return the result to keep of a job that completed."""
    return outcome.result if isinstance(outcome, Completed) else None


def logs_of(settlements: Mapping[Fence, Settlement], accepted: set[Fence]) -> Sequence[Settlement]:
    """Return the settlements with a log that were accepted."""
    return [
        each for fence, each in settlements.items() if each.log is not None and fence in accepted
    ]


def attempt_outcome(outcome: Outcome) -> str:
    """Return the outcome to record for an attempt whose job goes on."""
    return "interrupted" if isinstance(outcome, Released) else "failed"


@dataclass(frozen=True, slots=True)
class Lost:
    """A job whose worker is gone, in the order of lost.sql's columns."""

    id: str
    attempt: int
    worker: str
    fence: int | None
    task: str
    lost: int
    interrupted: int
    options: str | None
    cancelling: str | None
    retired: bool  # its worker was shutting down, so this does not count as a loss

    def outcome(self, lease: float) -> Outcome:
        """Decide how its attempt ends."""
        if self.cancelling is not None:
            return Cancelled(self.cancelling)
        on_crash = JobOptions.read(self.options).on_crash
        if on_crash == "fail":
            return Failed(CRASHED)
        if self.retired:
            ends = self.interrupted + 1 >= MAX_INTERRUPTED and on_crash != "always"
            return Failed(NEVER_ENDS) if ends else Released()
        if self.lost + 1 >= MAX_LOST and on_crash != "always":
            return Failed(POISON)
        reason = f"worker {self.worker} was lost during attempt {self.attempt}"
        delay = recovery_delay(min(self.lost + 1, MAX_LOST), lease)  # more only with "always"
        return RetryAt(delay, reason)


def advance_row(due: Due, next_at: float, last_at: float | None) -> Values:
    """Return the values of advance.sql."""
    return {
        "name": due.name,
        "rule": due.rule,
        "seen_at": due.next_at,
        "next_at": next_at,
        "last_at": last_at,
    }
