"""The runner: runs attempts until their outcome is stored.

Three kinds of threads meet here: the event loop starts attempts and watches their time; task
threads run `def` attempts; the store's thread calls back when an outcome is stored.

An attempt takes a slot until its function has returned, and keeps its lease until its outcome is
stored. If the code goes on after its time limit, the attempt ends without it: its outcome is stored
at the limit, the code keeps its thread, and its result is dropped. An attempt ends once: only the
thread that takes `_Running.outcome_right` writes the outcome.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from afterword import telemetry
from afterword.client.failures import Failure
from afterword.client.group_commit import GroupCommit
from afterword.injection.lifecycle import TEARDOWN_TIMEOUT
from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    Outcome,
    RetryAt,
    describe,
    shown,
    summarize,
)
from afterword.model.threads import Threads
from afterword.store.protocol import Cancelling, Claim, Settlement
from afterword.tasks.policy import Interruption, Why
from afterword.tasks.registry import options_of
from afterword.telemetry import listeners, sentry, tracing
from afterword.worker.context import TaskContext
from afterword.worker.executor import Attempt, Ending, conclude, run_async, run_sync, waiting_in
from afterword.worker.in_process import (
    BEGUN,
    HANDLER,
    LOG,
    PROGRESS,
    conclude_process,
    death_of,
    request_of,
)
from afterword.worker.processes import Call, Processes
from afterword.worker.processes import Ending as ProcessEnding
from afterword.worker.progress import Reports
from afterword.worker.services import WorkerSettings
from afterword.worker.settlements import SettlementQueue

_RETURNED_TOO_LATE = (
    "complete_in completed the job before the task returned. Store the value in its block, or"
    " return it without complete_in"
)

NOT_STORED = "the outcome of the attempt could not be stored"
CANCEL_WITHIN = 1.0  # seconds an attempt has to end once its time is over


@dataclass(slots=True, eq=False)
class _Running:
    """An attempt, from its start until its outcome is stored."""

    attempt: Attempt
    task: asyncio.Task[None] | None = None
    interruption: Interruption | None = None
    call: Call | None = None  # in a child process
    limit: asyncio.TimerHandle | None = None
    replaced: bool = False  # its thread's place has been given to another one
    error: BaseException | None = None  # with which it failed, if this process knows it
    outcome_right: list[None] = field(default_factory=lambda: [None])

    @property
    def context(self) -> TaskContext:
        """The context that the task sees."""
        return self.attempt.context

    def take_outcome_right(self) -> bool:
        """Return True for the one caller, in any thread, that may write the outcome."""
        try:
            self.outcome_right.pop()
        except IndexError:
            return False
        return True


class Runner:
    """Runs attempts in this process.

    Args:
        group: stores their outcomes.
        reports: stores their progress.
        settings: of the worker.
        on_free: called, in any thread, when a slot is free again.
        on_empty: called, in any thread, when nothing is running any more.
        on_loop_ends: called in the event loop when all its tasks are cancelled, because it ends.
    """

    def __init__(
        self,
        group: GroupCommit,
        reports: Reports,
        settings: WorkerSettings,
        *,
        clock: Clock,
        on_free: Callable[[], None],
        on_empty: Callable[[], None],
        on_loop_ends: Callable[[], None],
    ) -> None:
        self._reports = reports
        self._redact = settings.redact
        self._trace_within = settings.trace_within
        self._clock = clock
        self._on_free = on_free
        self._on_empty = on_empty
        self._on_loop_ends = on_loop_ends
        self._retries = settings.retries
        self._on_failed = settings.on_failed
        self._retries_at_once = settings.retries_at_once
        self._settlements = SettlementQueue(group, self._on_settled)
        self._threads = Threads(settings.concurrency)
        self._processes = Processes(min(settings.concurrency, _cores()), HANDLER)
        self.closing = False  # the process is about to end
        self._running: dict[str, _Running] = {}  # until their outcome is on record
        self._active: set[_Running] = set()  # until their function has returned

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._wait = waiting_in(self._loop)
        self._context = contextvars.Context()  # empty: an attempt sees no variables of its starter
        self._sentry_scope = sentry.scope_here()
        self._canary = self._loop.create_task(self._await_end_of_loop())

    def stop(self) -> None:
        """Let the threads end after their present calls, and the processes at once."""
        self._threads.stop()
        self._processes.stop()
        self._in_loop(self._canary.cancel)

    async def _await_end_of_loop(self) -> None:
        try:
            await self._loop.create_future()
        finally:
            self._on_loop_ends()

    @property
    def loop_ends(self) -> bool:
        """True while all tasks of the event loop are being cancelled, as `asyncio.run` does.

        All are cancelled before the first of them runs again, so the canary shows it in time.
        """
        return self._canary.cancelling() > 0 or self._canary.done()

    @property
    def busy(self) -> int:
        """The number of slots that are taken."""
        return len(self._active)

    @property
    def processes_busy(self) -> bool:
        """True if another attempt in a process would have to wait for one."""
        running = sum(1 for each in self._active if each.call is not None)
        return running >= self._processes.size

    @property
    def left(self) -> int:
        """The number of outcomes that are not stored yet."""
        return len(self._running)

    @property
    def cancellable(self) -> bool:
        """True if at least one running attempt can be cancelled or killed."""
        return any(running.task or running.call for running in self._running.values())

    # ------------------------------------------------------------------ running

    def run(self, attempt: Attempt) -> None:
        """Start an attempt."""
        attempt.context.variables = self._context.copy()
        if listeners.want_spans():
            attempt.context.trace = self._trace(attempt)
        attempt.context.enter_sentry(self._sentry_scope)
        running = _Running(attempt)
        self._running[attempt.claim.id] = running
        self._active.add(running)
        if options_of(attempt.claim.task).executor == "process":
            self._run_in_process(running)
            return
        self._limit(running)
        if attempt.in_loop:
            self._run_in_loop(running)
        else:
            self._threads.submit(lambda: self._run_sync(running))

    def _trace(self, attempt: Attempt) -> tracing.AttemptTrace | None:
        """Begin the span of an attempt, if spans are collected."""
        claim = attempt.claim
        return tracing.process(
            claim.id,
            claim.task,
            claim.queue,
            claim.options,
            attempt=claim.attempt,
            age=attempt.context.started_at - claim.created_at,
            within=self._trace_within,
        )

    def _run_in_loop(self, running: _Running) -> None:
        coroutine = self._run_async(running)
        try:
            variables = running.context.variables
            running.task = self._loop.create_task(coroutine, context=variables)
        except Exception as error:  # of a task factory of the user's
            coroutine.close()
            self._end(running, Ending(error))
        else:
            running.task.add_done_callback(lambda task: self._end_unstarted(running, task))

    def _limit(self, running: _Running) -> None:
        """Start the time limit of an attempt."""
        if running.attempt.policy.timeout is not None:
            seconds = running.attempt.policy.timeout
            running.limit = self._loop.call_later(seconds, self._expire, running)

    async def _run_async(self, running: _Running) -> None:
        self._end(running, await run_async(running.attempt, self._threads.submit))

    def _end_unstarted(self, running: _Running, task: asyncio.Task[None]) -> None:
        """End the attempt of an asyncio task that was cancelled before its first step."""
        if task.cancelled():
            self._end(running, Ending(asyncio.CancelledError()))

    def _run_sync(self, running: _Running) -> None:
        self._end(running, run_sync(running.attempt, self._wait, running.context.variables))

    def _run_in_process(self, running: _Running) -> None:
        def on_message(message: dict[str, Any]) -> None:
            if message.get("kind") == BEGUN:
                self._in_loop(lambda: self._limit(running))
            elif message.get("kind") == PROGRESS:
                running.context.progress.update(**json.loads(message["text"]))
            elif message.get("kind") == LOG and running.context.log is not None:
                running.context.log.add(message["line"])

        def on_end(ending: ProcessEnding) -> None:
            self._end_in_process(running, ending)

        request = request_of(running.attempt, self._retries)
        try:
            running.call = self._processes.start(request, on_message, on_end)
        except Exception as error:  # its module is none that a child could import
            self._end(running, Ending(error))

    def _end_in_process(self, running: _Running, ending: ProcessEnding) -> None:
        if running.limit is not None:
            self._in_loop(running.limit.cancel)
        self._active.discard(running)
        self._on_free()
        if not running.take_outcome_right():
            return
        interruption = running.interruption
        try:
            outcome, children = conclude_process(running.attempt, ending, interruption)
        except Exception as error:  # as in `_conclude`
            outcome, children = Failed(describe(error, whole=True)), []
            running.error = error
        else:
            if ending.value is None:
                running.error = _cause(death_of(ending), interruption)
        self._settle(running, outcome, children)

    def _end(self, running: _Running, ending: Ending) -> None:
        """Free the slot, because the function has returned, and end the attempt if necessary."""
        mine = running.take_outcome_right()
        if running.limit is not None and mine:
            self._in_loop(running.limit.cancel)
        if running.replaced and not mine:
            self._threads.leave()
        self._active.discard(running)
        self._on_free()
        if mine:
            self._conclude(running, ending)

    def _conclude(self, running: _Running, ending: Ending) -> None:
        interruption = running.interruption
        ends = self.closing or self.loop_ends
        if interruption is None and ends and _is_cut_off(ending):
            interruption = Interruption(Why.SHUTDOWN)  # the event loop ends
        try:
            outcome = conclude(running.attempt, ending, interruption)
        except Exception as error:  # of a class in `retry_on`, say; the job has to end all the same
            outcome = Failed(describe(error, whole=True))
            running.error = error
        else:
            running.error = _cause(ending.error, interruption)
        self._settle(running, outcome, running.context.children)

    def _in_loop(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without a shutdown
            self._loop.call_soon_threadsafe(callback)

    # ------------------------------------------------------------------ ending them early

    def _expire(self, running: _Running) -> None:
        """Interrupt an attempt at its time limit; clean-up has a limit of its own."""
        if running.attempt.leaving:
            self._await_teardown(running)
            return
        seconds = running.attempt.policy.timeout or 0.0
        reason = f"the attempt took longer than {seconds:g} seconds"
        self._interrupt(running, Interruption(Why.TIMEOUT, reason))
        if running.task is None and running.call is None:
            self._give_up(running)
        elif running.task is not None:
            running.limit = self._loop.call_later(CANCEL_WITHIN, self._give_up, running)

    def _give_up(self, running: _Running) -> None:
        """End an attempt that ignored its time limit, unless it is cleaning up."""
        if running.attempt.leaving:
            self._await_teardown(running)
        else:
            self._end_without(running)

    def _await_teardown(self, running: _Running) -> None:
        seconds = TEARDOWN_TIMEOUT + CANCEL_WITHIN
        running.limit = self._loop.call_later(seconds, self._end_without, running)

    def _end_without(self, running: _Running) -> None:
        """End an attempt whose code goes on; if it has a thread, another one takes its place."""
        running.replaced = running.task is None and self._threads.replace_one()
        if not running.take_outcome_right():  # it returned just now
            if running.replaced:
                self._threads.keep_one()
            return
        running.context.over = True
        claim = running.attempt.claim
        telemetry.overrun(claim, slot_freed=running.replaced)
        if running.replaced:
            self._active.discard(running)
            self._on_free()
        self._conclude(running, Ending(asyncio.CancelledError()))

    def cancel(self, wanted: Iterable[Cancelling]) -> None:
        """Interrupt attempts that people have cancelled."""
        for each in wanted:
            running = self._running.get(each.id)
            if running is not None and running.attempt.claim.attempt == each.attempt:
                self._interrupt(running, Interruption(Why.CANCELLED, each.reason))

    def interrupt_all(self, why: Why, worker: str | None = None) -> None:
        """Interrupt all attempts, or those that one worker id has claimed."""
        for running in list(self._running.values()):
            if worker in (None, running.attempt.claim.worker):
                self._interrupt(running, Interruption(why))

    def _interrupt(self, running: _Running, interruption: Interruption) -> None:
        """Cancel a coroutine, or kill a process. A thread can only look at `cancelled`."""
        if interruption.why is Why.LOST:
            running.context.over = True
        if running.interruption is not None or running.attempt.leaving:
            return  # cancelled before: a second time would interrupt its clean-up
        running.interruption = interruption
        running.context.told_to_end = interruption.error
        if interruption.why is Why.CANCELLED and running.attempt.target.remote is not None:
            return  # it may have been sent already, and says so within seconds
        if running.task is not None and not self._loop.is_closed():
            running.attempt.cancel(running.context.told_to_end, running.task)
        elif running.call is not None:
            running.call.kill(interruption.reason or interruption.why.value)

    # ------------------------------------------------------------------ storing their outcomes

    def _settle(self, running: _Running, outcome: Outcome, children: Sequence[NewJob]) -> None:
        context = running.context
        context.over = True
        if not isinstance(outcome, Failed | RetryAt):
            running.error = None  # its traceback refers to the attempt
        if isinstance(outcome, Failed | RetryAt):
            outcome = replace(outcome, error=self._redact(outcome.error))
        elif isinstance(outcome, Cancelled):
            outcome = replace(outcome, reason=self._redact(outcome.reason))
        if isinstance(outcome, RetryAt) and running.attempt.claim.attempt <= self._retries_at_once:
            outcome = replace(outcome, delay=0.0)
        if context.trace is not None:
            context.trace.end(Completed() if context.completed else outcome)
        if context.completed:
            self._note_completed(running, outcome)
            return
        children = children if isinstance(outcome, Completed) else ()
        claim, seconds = running.attempt.claim, context.seconds
        log = None if context.log is None else context.log.text()
        settlement = Settlement(claim, outcome, tuple(children), seconds=seconds, log=log)
        progress = context.said_progress
        if progress is None:
            self._settlements.add(settlement)
        else:
            self._reports.write_last(progress, lambda: self._settlements.add(settlement))

    def _note_completed(self, running: _Running, outcome: Outcome) -> None:
        """Note an attempt that `complete_in` has completed; the rest of the task has no effect."""
        claim = running.attempt.claim
        cause = self._cause_of(running)
        if not isinstance(outcome, Completed):
            telemetry.failed_after_completion(claim, outcome, cause)
        elif outcome.result is not None:
            telemetry.result_not_kept(claim.task, _RETURNED_TOO_LATE)
        telemetry.ended(claim, Completed(), running.context.seconds, cause)
        self._forget(claim)

    def _cause_of(self, running: _Running) -> telemetry.Cause:
        """Collect the facts about the end of an attempt, for logs and metrics."""
        context, claim = running.context, running.attempt.claim
        due_at = claim.created_at if claim.due_at is None else claim.due_at
        return telemetry.Cause(
            error=None if running.error is None else shown(running.error, self._redact),
            waited=context.started_at - due_at,
            trace_id=None if context.trace is None else context.trace.trace_id,
            variables=context.variables,
        )

    def _on_settled(
        self, settlement: Settlement, accepted: bool, error: BaseException | None
    ) -> None:
        """Handle the store's answer, in its thread."""
        claim = settlement.claim
        if error is not None:
            self._settle_without(settlement, error)
            return
        if accepted:
            outcome = settlement.outcome
            self._tell_ended(claim, outcome, settlement.seconds or 0.0)
            if isinstance(outcome, Failed):
                self._report(claim, outcome)
        else:
            telemetry.lost_lease(claim)
        self._forget(claim)

    def _tell_ended(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        if listeners.want_end(outcome):
            running = self._running.get(claim.id)
            cause = None if running is None else self._cause_of(running)
            telemetry.ended(claim, outcome, seconds, cause)

    def _report(self, claim: Claim, outcome: Failed) -> None:
        """Report the failure, with its exception unless the store had refused the outcome."""
        running = self._running.get(claim.id)
        refused = outcome.error.startswith(NOT_STORED)
        self._on_failed(Failure.of(claim, None if running is None or refused else running.error))

    def _settle_without(self, settlement: Settlement, error: BaseException) -> None:
        """End a job as failed whose outcome the store refuses."""
        telemetry.settle_failed(settlement.claim.id, error)
        outcome = settlement.outcome
        if isinstance(outcome, Failed) and outcome.error.startswith(NOT_STORED):
            self._forget(settlement.claim)  # not even that: its job counts as lost (`holdings`)
            return
        reason = f"{NOT_STORED}: {summarize(error)}"
        self._settlements.add(replace(settlement, outcome=Failed(reason), children=()))

    def _forget(self, claim: Claim) -> None:
        running = self._running.get(claim.id)
        if running is not None and running.attempt.claim is claim:
            del self._running[claim.id]
        if not self._running:
            self._on_empty()


def _cause(error: BaseException | None, interruption: Interruption | None) -> BaseException | None:
    """Return the exception with which an attempt fails; None if it was only cut off."""
    if interruption is None:
        return error
    if interruption.why is not Why.TIMEOUT:
        return None
    return interruption.error.with_traceback(error.__traceback__ if error else None)


def _is_cut_off(ending: Ending) -> bool:
    return isinstance(ending.error, asyncio.CancelledError | concurrent.futures.CancelledError)


def _cores() -> int:
    """Return the number of processes that can compute at the same time."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
