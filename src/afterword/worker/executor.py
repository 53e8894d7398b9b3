"""One attempt, from claim to outcome.

An executor never raises and never writes: the attempt ends as a value, for any behaviour of user
code.
`async def` tasks run in the worker's event loop, `def` tasks in one of its threads. They do not see
the context variables of the request, because an attempt may run on another machine.

Dependencies are entered before the task and left after it, in the same place: in the thread of a
`def` task if all of them are synchronous; otherwise in the event loop, and only the `def` task
itself runs in a thread.
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from afterword import telemetry
from afterword.fleets.recognition import remote_task
from afterword.fleets.remote import RemoteTask
from afterword.fleets.sender import hand_over
from afterword.injection import lifecycle
from afterword.injection.lifecycle import Run, in_thread, uninterrupted
from afterword.injection.needs import NOTHING, Injection, Needs
from afterword.injection.scope import Values
from afterword.model.outcome import Outcome
from afterword.store.protocol import Claim
from afterword.tasks.arguments import Plan, plan
from afterword.tasks.policy import Interruption, Policy, Why, decide, decide_hand_over, policy_of
from afterword.tasks.registry import is_async, options_of, resolve
from afterword.tasks.results import ResultNotKept, encode_result
from afterword.worker.context import TaskContext, current

Submit = Callable[[Callable[[], None]], object]


@dataclass(frozen=True, slots=True)
class Target:
    """A task's function with everything that is needed to call it."""

    func: Callable[..., Any]
    needs: Needs
    plan: Plan
    is_async: bool
    remote: RemoteTask | None = None  # it is sent to the workers of another system


class Targets:
    """The functions that a worker has run; each is analysed once.

    Args:
        injection: the injection of the application.
    """

    def __init__(self, injection: Injection) -> None:
        self._injection = injection
        self._known: dict[Callable[..., Any], Target] = {}

    def find(self, name: str) -> Target:
        """Return the function of a task.

        Raises:
            UnknownTask: this application does not have the task.
            InjectionError: a dependency can never be provided here.
        """
        found = resolve(name)
        target = self._known.get(found)
        if target is None:
            remote = remote_task(found)
            target = _sending(remote) if remote else self._running(name, found)
            self._known[found] = target
        return target

    def _running(self, name: str, found: Callable[..., Any]) -> Target:
        func = self._injection.unwrap(found)
        needs = self._injection.of_task(name, func)
        return Target(func, needs, plan(func, needs.names), is_async(func))


def _sending(remote: RemoteTask) -> Target:
    """The target that sends a job to another system, under its id."""

    async def send(*args: Any, **kwargs: Any) -> None:
        context = current.get()
        await hand_over(remote, context.fleet_id, args, kwargs)

    return Target(send, NOTHING, plan(remote.func), is_async=True, remote=remote)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim with its function and arguments, ready to be called.

    `run` is set if dependencies have to be entered and left in the event loop.
    """

    claim: Claim
    context: TaskContext
    target: Target
    args: list[Any]
    kwargs: dict[str, Any]
    policy: Policy
    run: Run | None

    @property
    def in_loop(self) -> bool:
        """True if it runs in the event loop; otherwise it runs in a thread."""
        return self.target.is_async or self.run is not None

    @property
    def leaving(self) -> bool:
        """True once the function has ended and its dependencies are being closed."""
        return self.context.leaving or (self.run is not None and self.run.leaving)

    def cancel(self, why: BaseException, task: asyncio.Task[None]) -> None:
        """Cancel it, if it runs in the event loop as that asyncio task."""
        if self.run is not None and self.run.begun:
            self.run.cancel(why, body=self.target.is_async)
        else:
            task.cancel()

    def call(self) -> Any:
        """Call a task whose dependencies need no closing."""
        needs = self.target.needs
        if not needs.names:
            return self.target.func(*self.args, **self.kwargs)
        return self.call_with(needs.values(self.context.provided))

    def call_with(self, values: Values) -> Any:
        """Call the task with its dependencies."""
        args, kwargs = self.target.plan.complete(self.args, self.kwargs, values)
        return self.target.func(*args, **kwargs)

    def require_wanted(self) -> None:
        """Raise, so that dependencies roll back, if the attempt was asked to end meanwhile."""
        context = self.context
        context.leaving = True  # first, so that the thread that ends the attempt sees it
        told = context.told_to_end
        late = isinstance(told, TimeoutError)
        if told is not None and (late or context.heeded or context.over):
            raise told


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of the function: an error, or a value."""

    error: BaseException | None = None
    value: Any = None


Wait = Callable[[Awaitable[Any]], Ending]


def prepare(
    claim: Claim, context: TaskContext, targets: Targets, retries: int | None = None
) -> Attempt:
    """Find the function, decode the arguments.

    Args:
        retries: the application's default for tasks that set none.

    Raises:
        UnknownTask: this application does not have the task.
        InjectionError: a dependency can never be provided here.
        ArgumentError: the stored arguments do not fit it.
    """
    target = targets.find(claim.task)
    args, kwargs = target.plan.decode(claim.arguments)
    policy = policy_of(
        options_of(claim.task),
        claim.options,
        retries=retries,
        failures=claim.failures,
        interrupted=claim.interrupted,
    )
    in_loop = target.needs.in_loop(is_async=target.is_async)
    run = Run(target.needs, context.provided) if in_loop else None
    return Attempt(claim, context, target, args, kwargs, policy, run)


# ---------------------------------------------------------------------- in the event loop


async def run_async(attempt: Attempt, submit: Submit) -> Ending:
    """Run an attempt in the event loop.

    Args:
        submit: gives a call to a thread of the worker.
    """
    current.set(attempt.context)
    if attempt.context.trace is not None:
        attempt.context.trace.enter()
    try:
        if attempt.run is None:
            return Ending(value=await attempt.call())
        if attempt.target.is_async:
            return Ending(value=await attempt.run(lambda values: _await(attempt, values)))
        return Ending(value=await attempt.run(lambda values: _hop(attempt, values, submit)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too, would end the loop
        return Ending(error)


async def _await(attempt: Attempt, values: Values) -> Any:
    value = await attempt.call_with(values)
    attempt.require_wanted()
    return value


async def _hop(attempt: Attempt, values: Values, submit: Submit) -> Any:
    """Call a `def` task in a thread, with the context variables of its dependencies."""

    def call() -> Ending:
        try:
            return Ending(value=attempt.call_with(values))
        except BaseException as error:
            return Ending(error)

    variables = attempt.context.variables = contextvars.copy_context()
    ending = await uninterrupted(in_thread(submit, variables, call))
    if ending.error is not None:
        raise ending.error
    value = ending.value
    if isinstance(value, Awaitable):
        value = await value
    attempt.require_wanted()
    return value


# ---------------------------------------------------------------------- in a thread


def run_sync(attempt: Attempt, wait: Wait, context: contextvars.Context) -> Ending:
    """Run a `def` task in the calling thread.

    Args:
        wait: takes the awaitable that such a task may return, and returns how it ended.
        context: the context variables that the task sees.
    """
    return context.run(_run_here, attempt, wait)


def waiting_in(loop: asyncio.AbstractEventLoop) -> Wait:
    """Await what a task returns in the worker's event loop; to be called in another thread."""
    return lambda value: asyncio.run_coroutine_threadsafe(ending_of(value), loop).result()


async def ending_of(awaitable: Awaitable[Any]) -> Ending:
    """Await it, and return its end: a SystemExit that is raised here would end the loop."""
    try:
        return Ending(value=await awaitable)
    except BaseException as error:
        return Ending(error)


def _run_here(attempt: Attempt, wait: Wait) -> Ending:
    current.set(attempt.context)
    if attempt.context.trace is not None:
        attempt.context.trace.enter()
    needs = attempt.target.needs
    try:
        if not needs.scoped:
            return Ending(value=_awaited(attempt.call(), wait))
        value = lifecycle.run_sync(
            needs, attempt.context.provided, lambda values: _call_here(attempt, values, wait)
        )
        return Ending(value=value)
    except BaseException as error:
        return Ending(error)


def _call_here(attempt: Attempt, values: Values, wait: Wait) -> Any:
    try:
        value = _awaited(attempt.call_with(values), wait)
    finally:
        attempt.context.leaving = True
    attempt.require_wanted()
    return value


def _awaited(value: Any, wait: Wait) -> Any:
    """Return what a function returned, or the result of its awaitable."""
    if not isinstance(value, Awaitable):
        return value
    ending = wait(value)
    if ending.error is not None:
        raise ending.error
    return ending.value


# ---------------------------------------------------------------------- its outcome


def conclude(attempt: Attempt, ending: Ending, interruption: Interruption | None) -> Outcome:
    """Return the outcome of the attempt.

    Args:
        interruption: the request to end, if there was one; the attempt may have ended without it.
    """
    if attempt.target.remote:
        failures = attempt.claim.failures
        return decide_hand_over(ending.error, failures, random.random(), interruption)
    return decide(
        ending.error,
        attempt.policy,
        chance=random.random(),
        interruption=interruption if _is_why(interruption, ending, attempt.context) else None,
        result=_result(attempt, ending.value) if ending.error is None else None,
    )


def _is_why(interruption: Interruption | None, ending: Ending, context: TaskContext) -> bool:
    """Return True if the attempt ended because it was asked to."""
    if interruption is None:
        return False
    if ending.error is None:  # a return after the time limit is too late, with any value
        return context.heeded or interruption.why is Why.TIMEOUT
    asked = interruption.why in (Why.CANCELLED, Why.TIMEOUT)
    return asked or isinstance(ending.error, asyncio.CancelledError) or context.heeded


def _result(attempt: Attempt, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return encode_result(attempt.target.func, value)
    except ResultNotKept as error:
        telemetry.result_not_kept(attempt.claim.task, str(error))
        return None
