"""What is to become of an attempt that has ended: one pure function decides.

returned ─────────────────────────────────▶ Completed, with what it returned
raised Cancel, or was cancelled ──────────▶ Cancelled
cut off by a shutdown ────────────────────▶ Released; after a hundred times, or with
                                            on_crash="fail", Failed
raised Retry ─────────────────────────────▶ Retry, as long as its retries last
raised something of `retry_on` ───────────▶ Retry, as long as its retries last
raised anything else, took too long ──────▶ the same, or Failed
what it needs can never be had here ──────▶ Failed
"""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from afterword.errors import InjectionError, TaskRequestError
from afterword.model import control
from afterword.model.job import JobOptions, OnCrash
from afterword.model.outcome import (
    MAX_INTERRUPTED,
    NEVER_ENDS,
    Cancelled,
    Completed,
    Failed,
    Outcome,
    Released,
    Retry,
    describe,
    reason_of,
)
from afterword.tasks.options import TaskOptions
from afterword.tasks.retry import Backoff, Delays

ASKED_RETRIES = 100  # of a task that raises Retry, and does not say how often it may


CUT_OFF = "cut off by a shutdown, and its task is not to be run again after that (on_crash='fail')"


class Why(StrEnum):
    """Why an attempt was made to end, if it was."""

    SHUTDOWN = "shutdown"  # the process ends, and the grace time is over
    LOST = "lost"  # the job is somebody else's by now
    CANCELLED = "cancelled"  # somebody asked for it
    TIMEOUT = "timeout"  # it took longer than it may


@dataclass(frozen=True, slots=True)
class Interruption:
    """That an attempt was made to end, and what is to be said about it."""

    why: Why
    reason: str = ""

    @property
    def error(self) -> BaseException:
        """What the attempt's dependencies are told."""
        late = self.why is Why.TIMEOUT
        return TimeoutError(self.reason) if late else asyncio.CancelledError(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What decides how the attempts of a job end, from its task, its call and its application.

    Args:
        retries: None: nobody has said anything.
        failures: of this job so far.
        interrupted: how many shutdowns have cut it off so far.
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
        """Whether there are retries left."""
        return self.failures < (self.retries or 0)

    @property
    def lasts_if_asked(self) -> bool:
        """The same for a task that asks for it."""
        return self.failures < (ASKED_RETRIES if self.retries is None else self.retries)


def policy_of(
    options: TaskOptions, said: str | None, *, retries: int | None, failures: int, interrupted: int
) -> Policy:
    """The policy of one job.

    Args:
        said: the job's own options, as it stores them.
        retries: what the application says of all tasks.
    """
    call = JobOptions.read(said)
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
    """What becomes of a job whose attempt ended with `error` (None: it returned).

    Args:
        chance: from 0 to 1, for the jitter.
        interruption: why the attempt was made to end, if that is why it ended.
        result: what it returned, as JSON.
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
        return Retry(error.delay, describe(error))
    return _again(describe(error), policy, chance)


def _again(error: str, policy: Policy, chance: float) -> Retry:
    return Retry(policy.backoff.delay(policy.failures + 1, chance), error)
