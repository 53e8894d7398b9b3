"""One attempt, from claim to outcome.

An executor never raises and never writes: whatever user code does, the attempt ends as a value.
`def` tasks run in a thread of the worker, `async def` tasks in its event loop. What a request had
in its context (its outbox, its state) is not there: an attempt may run on another machine.
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from afterword import telemetry
from afterword.arguments import plan
from afterword.context import TaskContext, current
from afterword.outcome import Outcome
from afterword.policy import Interruption, Policy, Why, decide, policy_of
from afterword.results import ResultNotKept, encode_result
from afterword.store import Claim
from afterword.task import options_of, resolve


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim with its function and arguments found: ready to be called."""

    claim: Claim
    context: TaskContext
    func: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    policy: Policy

    def call(self) -> Any:
        """Call the task, which finds its context in `current_task()`."""
        current.set(self.context)
        return self.func(*self.args, **self.kwargs)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the function ended: with an error, or with a value."""

    error: BaseException | None = None
    value: Any = None


def prepare(claim: Claim, context: TaskContext, retries: int | None = None) -> Attempt:
    """Find the function, decode the arguments.

    Args:
        retries: what the application says of all its tasks.

    Raises:
        UnknownTask: this application does not have the task.
        ArgumentError: the stored arguments do not fit it.
    """
    func = resolve(claim.task)
    args, kwargs = plan(func).decode(claim.arguments)
    policy = policy_of(
        options_of(claim.task),
        claim.options,
        retries=retries,
        failures=claim.failures,
        interrupted=claim.interrupted,
    )
    return Attempt(claim, context, func, args, kwargs, policy)


async def run_async(attempt: Attempt) -> Ending:
    """Run an `async def` task."""
    try:
        return Ending(value=await attempt.call())
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too, would end the loop
        return Ending(error)


def run_sync(
    attempt: Attempt, loop: asyncio.AbstractEventLoop, context: contextvars.Context
) -> Ending:
    """Run a `def` task in the calling thread; what it returns is awaited in the loop if need be."""
    try:
        value = context.run(attempt.call)
        if isinstance(value, Awaitable):
            waiting = context.run(asyncio.run_coroutine_threadsafe, _ending_of(value), loop)
            return waiting.result()
        return Ending(value=value)
    except BaseException as error:
        return Ending(error)


async def _ending_of(awaitable: Awaitable[Any]) -> Ending:
    """How it ended, as a value: a SystemExit that got out would end the loop."""
    try:
        return Ending(value=await awaitable)
    except BaseException as error:
        return Ending(error)


def conclude(
    attempt: Attempt, ending: Ending, interruption: Interruption | None, now: float
) -> Outcome:
    """What becomes of the job.

    Args:
        interruption: that the attempt was told to end; it may have ended for reasons of its own.
        now: seconds since 1970.
    """
    return decide(
        ending.error,
        attempt.policy,
        now=now,
        chance=random.random(),
        interruption=interruption if _is_why(interruption, ending, attempt.context) else None,
        result=_result(attempt, ending.value) if ending.error is None else None,
    )


def _is_why(interruption: Interruption | None, ending: Ending, context: TaskContext) -> bool:
    """Whether the attempt ended because it was told to."""
    if interruption is None:
        return False
    if ending.error is None:
        return context.heeded
    asked = interruption.why in (Why.CANCELLED, Why.TIMEOUT)
    return asked or isinstance(ending.error, asyncio.CancelledError) or context.heeded


def _result(attempt: Attempt, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return encode_result(attempt.func, value)
    except ResultNotKept as error:
        telemetry.result_not_kept(attempt.claim.task, str(error))
        return None
