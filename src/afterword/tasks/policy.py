"""The outcome of an attempt, decided by one pure function.

returned ─────────────────────────────────▶ Completed, with the result
raised Cancel, or was cancelled ──────────▶ Cancelled
interrupted by a shutdown ────────────────▶ Released; Failed after a hundred interruptions,
                                            or with on_crash="fail"
raised Retry ─────────────────────────────▶ RetryAt while retries are left, then Failed
raised an error of `retry_on` ────────────▶ RetryAt while retries are left, then Failed
ran into its timeout ─────────────────────▶ the same, as a TimeoutError
sent to another system ───────────────────▶ HandedOver; RetryAt without end if that failed
raised another error ─────────────────────▶ Failed
can never be injected in a worker ────────▶ Failed
"""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from afterword.errors import FleetUnavailable, InjectionError, TaskRequestError
from afterword.model import control
from afterword.model.job import JobOptions, OnCrash
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
    describe,
    reason_of,
)
from afterword.tasks.options import TaskOptions
from afterword.tasks.retry import Backoff, Delays

ASKED_RETRIES = 100  # of a task that raises Retry and has no `retries`


CUT_OFF = "interrupted by a shutdown, and on_crash='fail' forbids to run it again"


class Why(StrEnum):
    """The reasons to interrupt an attempt."""

    SHUTDOWN = "shutdown"  # the process ends, and the grace time is over
    LOST = "lost"  # the job has been given to another worker
    CANCELLED = "cancelled"  # the job was cancelled
    TIMEOUT = "timeout"  # the attempt took longer than its timeout


@dataclass(frozen=True, slots=True)
class Interruption:
    """The interruption of an attempt, with its reason as text."""

    why: Why
    reason: str = ""

    @property
    def error(self) -> BaseException:
        """The exception that the attempt's dependencies receive."""
        late = self.why is Why.TIMEOUT
        return TimeoutError(self.reason) if late else asyncio.CancelledError(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules for the outcomes of a job, from its call, its task and its application.

    Args:
        retries: the number of retries, at most; None: not set anywhere.
        failures: failed attempts of this job so far.
        interrupted: shutdowns that have interrupted it so far.
    """

    retries: int | None = None
    backoff: Backoff | Delays = field(default_factory=Backoff)
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    timeout: float | None = None
    on_crash: OnCrash = "retry"
    failures: int = 0
    interrupted: int = 0

    @property
    def lasts(self) -> bool:
        """Return True if there are retries left."""
        return self.failures < (self.retries or 0)

    @property
    def lasts_if_asked(self) -> bool:
        """Return True if there are retries left for a task that raises `Retry`."""
        return self.failures < (ASKED_RETRIES if self.retries is None else self.retries)


def policy_of(
    options: TaskOptions,
    job_options: str | None,
    *,
    retries: int | None,
    failures: int,
    interrupted: int,
) -> Policy:
    """Build the policy of one job.

    Args:
        job_options: the options stored with the job; see `JobOptions`.
        retries: the default of the application.
    """
    call = JobOptions.read(job_options)
    known = (each for each in (call.retries, options.retries, retries) if each is not None)
    return Policy(
        retries=next(known, None),
        backoff=options.backoff,
        retry_on=options.retry_on,
        timeout=options.timeout if call.timeout is None else call.timeout,
        on_crash=options.on_crash,
        failures=failures,
        interrupted=interrupted,
    )


def decide(
    error: BaseException | None,
    policy: Policy,
    *,
    chance: float,
    interruption: Interruption | None = None,
    result: str | None = None,
) -> Outcome:
    """Decide the outcome of an attempt that ended with `error` (None: it returned).

    Args:
        chance: a random number from 0 to 1, for the jitter.
        interruption: why the attempt was interrupted, if that is why it ended.
        result: its return value, as JSON.
    """
    if isinstance(error, control.Cancel):
        return Cancelled(reason_of(error))
    if interruption is not None:
        return _interrupted(error, interruption, policy, chance)
    if error is None:
        return Completed(result)
    if isinstance(error, control.Retry):
        return _asked_for(error, policy, chance)
    if isinstance(error, InjectionError | TaskRequestError):
        return Failed(describe(error))
    if isinstance(error, policy.retry_on) and policy.lasts:
        return _again(describe(error), policy, chance)
    return Failed(describe(error))


def decide_hand_over(
    error: BaseException | None, failures: int, chance: float, interruption: Interruption | None
) -> Outcome:
    """Decide the outcome of an attempt to send a job to another system; it is tried without end.

    Args:
        failures: attempts that failed so far.
    """
    if error is None:
        return HandedOver()
    if interruption is not None and interruption.why is Why.CANCELLED:
        return Cancelled(interruption.reason)
    if interruption is not None:
        return Released()
    # A traceback would only show where we waited for the fleet.
    told = reason_of(error) if isinstance(error, FleetUnavailable) else describe(error)
    return RetryAt(_SENDING.delay(failures + 1, chance), told)


_SENDING = Backoff(base=1, cap=60)


def _interrupted(
    error: BaseException | None,
    interruption: Interruption,
    policy: Policy,
    chance: float,
) -> Outcome:
    match interruption.why:
        case Why.CANCELLED:
            return Cancelled(interruption.reason)
        case Why.TIMEOUT:
            late = TimeoutError(interruption.reason)
            late.__traceback__ = error.__traceback__ if error else None
            return decide(late, policy, chance=chance)
        case Why.SHUTDOWN if policy.on_crash == "fail":
            return Failed(CUT_OFF)
        case Why.SHUTDOWN if policy.interrupted + 1 >= MAX_INTERRUPTED:
            return Failed(NEVER_ENDS)
        case _:
            return Released()


def _asked_for(error: control.Retry, policy: Policy, chance: float) -> Outcome:
    if not policy.lasts_if_asked:
        return Failed(describe(error))
    if error.delay is not None:
        return RetryAt(error.delay, describe(error))
    return _again(describe(error), policy, chance)


def _again(error: str, policy: Policy, chance: float) -> RetryAt:
    return RetryAt(policy.backoff.delay(policy.failures + 1, chance), error)
