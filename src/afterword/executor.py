"""One attempt, from claim to outcome.

An executor never raises and never writes: whatever user code does, the attempt ends as a value.
`def` tasks run in a thread of the worker, `async def` tasks in its event loop. What a request had
in its context (its outbox, its state) is not there: an attempt may run on another machine.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from afterword.arguments import plan
from afterword.context import TaskContext, current
from afterword.outcome import Outcome, decide
from afterword.store import Claim
from afterword.task import resolve


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim with its function and arguments found: ready to be called."""

    claim: Claim
    context: TaskContext
    func: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]

    def call(self) -> Any:
        """Call the task, which finds its context in `current_task()`."""
        current.set(self.context)
        return self.func(*self.args, **self.kwargs)


def prepare(claim: Claim, context: TaskContext) -> Attempt:
    """Find the function and decode the arguments.

    Raises:
        UnknownTask: this application does not have the task.
        ArgumentError: the stored arguments do not fit it.
    """
    func = resolve(claim.task)
    args, kwargs = plan(func).decode(claim.arguments)
    return Attempt(claim, context, func, args, kwargs)


async def run_async(attempt: Attempt, is_interrupted: Callable[[], bool]) -> Outcome:
    """Run an `async def` task; `is_interrupted` tells our cancelling from its own."""
    error: BaseException | None = None
    try:
        await attempt.call()
    except (
        BaseException
    ) as raised:  # also SystemExit and KeyboardInterrupt, which would end the loop
        error = raised
    return decide(error, interrupted=isinstance(error, asyncio.CancelledError) and is_interrupted())


def run_sync(
    attempt: Attempt, loop: asyncio.AbstractEventLoop, context: contextvars.Context
) -> Outcome:
    """Run a `def` task in the calling thread; what it returns is awaited in the loop if need be."""
    error: BaseException | None = None
    try:
        result = context.run(attempt.call)
        if isinstance(result, Awaitable):
            waiting = context.run(asyncio.run_coroutine_threadsafe, _ending_of(result), loop)
            error = waiting.result()
    except BaseException as raised:
        error = raised
    return decide(error, interrupted=False)


async def _ending_of(awaitable: Awaitable[Any]) -> BaseException | None:
    """What it raised, as a value: a SystemExit that got out would end the loop."""
    try:
        await awaitable
    except BaseException as error:
        return error
    return None
