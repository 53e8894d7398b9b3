"""Calls that run in their request: they cannot be stored, or the application is not started.

They run where Starlette would run them, with the same injected arguments as in a worker.
"""

import asyncio
import contextlib
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anyio import from_thread
from starlette.concurrency import run_in_threadpool

from afterword import telemetry
from afterword.client.call import Call
from afterword.client.failures import Failure
from afterword.errors import StoreError
from afterword.fleets.recognition import belongs_elsewhere, remote_task
from afterword.fleets.sender import hand_over
from afterword.injection import lifecycle
from afterword.injection.lifecycle import Run
from afterword.injection.needs import Injection, Needs
from afterword.injection.scope import Provided, Values
from afterword.model.control import Cancel
from afterword.model.job import JobRecord, JobState, new_id
from afterword.model.outcome import describe, shown
from afterword.tasks.registry import is_async
from afterword.telemetry import tracing

if TYPE_CHECKING:
    from afterword.request.intake import Intake
    from afterword.request.outbox import Entry, Outbox

Function = Callable[..., Any]
PATIENCE = 5.0  # seconds for which a call waits while none of the jobs before it runs


async def call_plainly(
    func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], job_id: str | None = None
) -> None:
    """Call a task as Starlette does: `async def` in the event loop, `def` in a thread.

    The task of another system is sent to its fleet, under the id of its job if it has one.
    """
    if remote := remote_task(func):
        await hand_over(remote, job_id or new_id(), *remote.arguments(args, kwargs))
        return
    if is_async(func):
        await func(*args, **kwargs)
        return
    result = await run_in_threadpool(functools.partial(func, *args, **kwargs))
    if isinstance(result, Awaitable):
        await result


async def as_background_task(func: Function, call: Callable[[], Awaitable[None]]) -> None:
    """Run a call as FastAPI runs a background task, in whose trace it then has a span.

    Starlette's have none.
    """
    fastapi = sys.modules.get("fastapi")
    if fastapi is None:
        await call()
        return

    tasks = fastapi.BackgroundTasks()
    tasks.add_task(named_as(func, call))
    await tasks()


def named_as(func: Function, call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A function that makes this call, with the name that FastAPI's span gets from the task."""

    async def run() -> None:
        await call()

    run.__module__ = getattr(func, "__module__", type(func).__module__)
    run.__qualname__ = getattr(func, "__qualname__", type(func).__qualname__)
    return run


async def run_until(outbox: "Outbox", last: "Entry") -> None:
    """Run the calls that cannot be stored, up to `last`, each after the jobs before it."""
    if not (outbox.durable or outbox.intake.started):
        telemetry.not_started()
    for entry in outbox.to_run_until(last):
        if outbox.take_to_run(entry):
            await _run(outbox, entry)


async def _run(outbox: "Outbox", entry: "Entry") -> None:
    try:
        if outbox.durable:
            await _wait_for_those_before(outbox, entry)
        if outbox.stopped:  # an earlier call or job failed
            return
    except asyncio.CancelledError:
        telemetry.not_run(entry.job.task)
        raise
    try:
        await outbox.call(entry)
    except Exception as error:
        outbox.failed_at = outbox.failed_at or entry
        if not outbox.durable:
            raise  # not started: as with FastAPI, a test client sees the error
        # Started: an error that reaches the server would close the client's connection.
        tracing.mark_failed(error)
        redact = outbox.intake.redact
        text = redact(describe(error))
        telemetry.task_failed(entry.job.id, entry.job.task, text, shown(error, redact))
        if not isinstance(error, Cancel):
            job = entry.job
            outbox.intake.on_failed(
                Failure(job_id=job.id, task=job.task, attempt=1, error=error, job=job)
            )


async def _wait_for_those_before(outbox: "Outbox", entry: "Entry") -> None:
    """Release the stored jobs before this call and wait for them, to keep the order.

    The wait ends without them if they cannot start soon: a job has a delay or waits for its next
    attempt, its queue is paused or has no worker, or the process is about to end.
    """
    if outbox.rules.order == "concurrent":
        return
    with contextlib.suppress(StoreError):  # logged; the end of the request tries again
        await outbox.store()
    before = outbox.release_before(entry)
    if not before:
        return
    ids = [each.handle.id for each in before]
    patience = _Patience(outbox.intake)
    while True:
        records = await outbox.intake.inquiries.records(ids)
        if all(record.state.final for record in records):
            if not all(record.state.succeeded for record in records):
                outbox.failed_at = outbox.failed_at or entry
            outbox.note_ended(before)
            return
        if patience.is_over(records):
            telemetry.out_of_order(entry.job.task)
            return
        await asyncio.sleep(patience.pause)


class _Patience:
    """The limit of a call's wait for the jobs before it."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self._running_at = intake.monotonic()
        self.pause = 0.0005  # seconds until the next look, doubled each time up to 0.1

    def is_over(self, records: Sequence[JobRecord]) -> bool:
        """True if none of these jobs is running and none is likely to start soon."""
        self.pause = min(self.pause * 2, 0.1)
        now = self._intake.monotonic()
        unfinished = [record for record in records if not record.state.final]
        stopping_since = self._intake.stopping_since
        if any(record.state is JobState.RUNNING for record in unfinished):
            self._running_at = now
            return stopping_since is not None and now > stopping_since + self._intake.grace
        ends = stopping_since is not None or self._intake.holds_jobs
        if ends or now > self._running_at + PATIENCE:
            return True
        soon = self._intake.now() + PATIENCE
        return any(record.run_at.timestamp() > soon for record in unfinished)


async def call_injected(
    injection: Injection,
    provided: Provided,
    call: Call,
    job_id: str,
) -> None:
    """Call a task with its dependencies, in a scope of their own, not in that of the request.

    Raises:
        InjectionError: a dependency cannot be provided outside of a request.
        TypeError: the arguments do not fit the parameters that are not injected.
    """
    if belongs_elsewhere(call.func):
        await call_plainly(call.func, call.args, call.kwargs, job_id)
        return
    inner = injection.unwrap(call.func)
    needs = injection.of(inner)
    if not needs and not needs.scoped:
        await call_plainly(call.func, call.args, call.kwargs)
        return
    complete = _completing(inner, needs, call)
    if needs.in_loop(is_async=is_async(inner)):
        await Run(needs, provided)(lambda values: call_plainly(complete(values), (), {}))
    elif needs.scoped:
        await run_in_threadpool(lifecycle.run_sync, needs, provided, lambda v: _here(complete(v)))
    else:
        await call_plainly(complete(needs.values(provided)), (), {})


def _completing(func: Function, needs: Needs, call: Call) -> Callable[[Values], Function]:
    """A function that takes the injected values and returns the call with all its arguments."""
    whole = inspect.signature(func)
    rest = [each for each in whole.parameters.values() if each.name not in needs.names]
    given = whole.replace(parameters=rest).bind(*call.args, **call.kwargs).arguments

    def complete(values: Values) -> Function:
        bound = whole.bind_partial()
        bound.arguments.update({**given, **values})
        return functools.partial(func, *bound.args, **bound.kwargs)

    return complete


def _here(func: Function) -> None:
    """Call it in this thread, in which its dependencies were entered."""
    result = func()
    if isinstance(result, Awaitable):
        from_thread.run(_wait_for, result)


async def _wait_for(awaitable: Awaitable[Any]) -> None:
    await awaitable
