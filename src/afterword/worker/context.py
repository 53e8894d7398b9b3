"""The task's view of its running attempt: `TaskContext` and `current_task`.

A task runs at least once. If its process dies after the work and before the outcome is stored, the
work is done again. Two things help:

- Jobs that a task adds (`add_task`) are stored with its completion, so they are added once.
- If the work is a transaction in the store's own database, `complete_in` settles the attempt on the
  task's own connection, under the fence, and commits. Only the attempt that completes the job can
  commit such work (`afterword.transactions.completion`).
"""

import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, TypeVar, overload

from afterword.client.call import Call, TaskAdder, new_job
from afterword.client.handle import Job
from afterword.errors import ConfigurationError, LostLease, NotInTask
from afterword.fleets.remote import fleet_id
from afterword.injection.needs import native
from afterword.injection.scope import Provided
from afterword.model.job import NewJob
from afterword.model.outcome import Completed
from afterword.store.protocol import Claim, Settlement
from afterword.tasks.options import NO_OPTIONS
from afterword.telemetry import listeners, sentry
from afterword.telemetry.tracing import AttemptTrace
from afterword.transactions.completion import Completion
from afterword.transactions.connections import adapt
from afterword.transactions.connections.kinds import Awaited, Synchronous
from afterword.transactions.statements import Transactions
from afterword.worker.attempt_log import AttemptLog
from afterword.worker.progress import Progress
from afterword.worker.services import Builtins, Make, WorkerServices

_NONE = Context()
P = ParamSpec("P")
R = TypeVar("R")


@native(in_processes=True)
class TaskContext(TaskAdder):
    """One attempt at a job, as a parameter of a task or from `current_task()`.

    Args:
        claim: the worker's claim on the job.
        services: shared with the other attempts.
        started_at: seconds since 1970.

    Example:
        async def charge(order_id: int, task: TaskContext) -> None:
            task.logger.info("charging order %d", order_id)
            await payments.charge(order_id, idempotency_key=task.idempotency_key)
            task.add_task(send_receipt, order_id)  # exists if and only if this attempt completes
    """

    def __init__(self, claim: Claim, services: WorkerServices, started_at: float) -> None:
        self._claim = claim
        self._services = services
        self._progress: Progress | None = None
        self.started_at = started_at
        self._began = services.monotonic()
        self.children: list[NewJob] = []
        self.completed = False  # already stored as completed, by `complete_in`
        self.told_to_end: BaseException | None = None
        self.heeded = False  # the task has read `cancelled` since
        self.leaving = False  # the task has returned, and its dependencies are being closed
        self._options = NO_OPTIONS
        self.log = None if services.new_log is None else services.new_log()
        self.over = False  # the attempt has ended for the job; further results are dropped
        self.trace: AttemptTrace | None = None
        self.variables: Context = _NONE  # in which the task runs

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._claim.id

    @property
    def task(self) -> str:
        """The task's name, as `module:qualname`."""
        return self._claim.task

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._claim.attempt

    @property
    def seconds(self) -> float:
        """Seconds for which the attempt has run so far."""
        return self._services.monotonic() - self._began

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for all attempts at this job, for services that take one."""
        return self._claim.id

    @property
    def fleet_id(self) -> str:
        """The id under which the job is sent to another system."""
        claim = self._claim
        counts = (claim.failures, claim.lost, claim.interrupted)
        return fleet_id(claim.id, claim.attempt, *counts)

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self._claim.tags

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """The logger of the task's module; its records have job_id, task, queue, attempt, trace_id.

        Example:
            current_task().logger.info("sent")
        """
        logger = logging.getLogger(self.task.partition(":")[0])
        return _Logger(logger, self.log_attributes)

    @property
    def log_attributes(self) -> Mapping[str, Any]:
        """The attributes of log records about this attempt."""
        claim = self._claim
        extra = {"job_id": claim.id, "task": claim.task, "queue": claim.queue}
        known = {**extra, "attempt": claim.attempt}
        return known if self.trace is None else {**known, "trace_id": self.trace.trace_id}

    def enter_sentry(self, scope: Any = None) -> None:
        """Give `variables` a scope of Sentry; see `telemetry.sentry.enter`."""
        if listeners.have_sentry():
            sentry.enter(self.variables, scope, self.task, self.log_attributes, self.tags)

    @property
    def cancelled(self) -> bool:
        """True once the attempt was cancelled or timed out: return soon.

        It is for `def` tasks, which cannot be interrupted. An `async def` task is cancelled where
        it awaits. If the task returns after reading True, its job is cancelled, not completed.

        Example:
            def resize_all(paths: list[Path]) -> None:
                for path in paths:
                    if current_task().cancelled:
                        return
                    resize(path)
        """
        told = self.is_told_to_end
        self.heeded = self.heeded or told
        return told

    @property
    def is_told_to_end(self) -> bool:
        """The same as `cancelled`, without counting as read by the task."""
        return self.told_to_end is not None

    @property
    def progress(self) -> Progress:
        """The progress of this attempt.

        Example:
            current_task().progress.update(3, total=10, message="resizing")
        """
        if self._progress is None:
            self._progress = Progress(self._claim, self._services.note)
        return self._progress

    @property
    def said_progress(self) -> Progress | None:
        """The progress of this attempt; None if `progress` was never used."""
        return self._progress

    @property
    def provided(self) -> Provided:
        """The values that are injected by their type alone, made when they are first needed."""
        return Builtins(self, self._services.builtins)

    # ------------------------------------------------------------------ jobs of its own

    # The jobs that a task adds exist if and only if this attempt completes: they are stored in one
    # transaction. So a repeated attempt adds no job twice. The jobs do not wait for each other.

    def _add_call(self, call: Call) -> Job[Any]:
        job = self.new_job(call)
        self.keep([job])
        return Job(job.id, job.task, inquiries=self._services.inquiries)

    def new_job(self, call: Call) -> NewJob:
        """Create the job of a call; it is not added."""
        return new_job(call, self._services.injection)

    def keep(self, jobs: Sequence[NewJob]) -> None:
        """Add jobs, as `add_task` does."""
        if self.over or self.completed:
            raise NotInTask(
                f"{self} has ended, and the jobs that a task adds are stored with its end. Add them"
                " before the task returns, and before the end of a complete_in block."
            )
        self.children.extend(jobs)

    # ------------------------------------------------------------------ completing with its effects

    @overload
    def complete_in(self, connection: Awaited) -> AbstractAsyncContextManager[None]: ...

    @overload
    def complete_in(self, connection: Synchronous) -> AbstractContextManager[None]: ...

    def complete_in(
        self, connection: Any
    ) -> AbstractAsyncContextManager[None] | AbstractContextManager[None]:
        """Commit the work of a block and the completion of this job in one transaction.

        `with` for a synchronous connection or session, `async with` for an asynchronous one. Code
        after the block still runs, but the job stays completed even if that code raises.

        Args:
            connection: to the store's own database; its transaction is committed.

        Raises:
            LostLease: at the end of the block, if another worker has the job by now.
            ConfigurationError: the connection leads to another database, or has no transaction.

        Example:
            async def bill(order_id: int) -> None:
                async with AsyncSession(engine) as session:
                    async with current_task().complete_in(session):
                        session.add(Bill(order_id=order_id))
        """
        if self.completed:
            raise LostLease(f"{self} is already completed: complete_in can be used once.")
        transactions = self._transactions
        transactions.open()
        adapted = adapt(connection)
        prepare = None if self._progress is None else self._write_progress
        completion = Completion(
            transactions, self._settlement, self._on_record, prepare, name=str(self)
        )
        return completion.on_awaited(adapted) if adapted.awaited else completion.on(adapted)

    @property
    def _transactions(self) -> Transactions:
        if self._services.transactions is None:
            raise ConfigurationError(
                f"complete_in works only in the worker's own process, but {self} runs in a child"
                " process or in its request. Use it in a task without executor='process', and start"
                " the application."
            )
        return self._services.transactions

    def _settlement(self) -> Settlement:
        children = tuple(self.children)
        log = None if self.log is None else self.log.text()
        return Settlement(self._claim, Completed(), children, seconds=self.seconds, log=log)

    def _write_progress(self) -> None:
        """Flush progress now; later the job is gone from `jobs`."""
        self._services.write_now(self.progress)

    def _on_record(self) -> None:
        self.completed = True
        self._transactions.announce()

    def __str__(self) -> str:
        return f"Attempt {self.attempt} at job {self.job_id} ({self.task})"


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """A LoggerAdapter that keeps the caller's `extra`, too."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        taken = _taken()
        own = {name: value for name, value in (self.extra or {}).items() if name not in taken}
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **own}}


def _taken() -> Collection[str]:
    """Return the attributes that the application's record factory sets: `extra` must not."""
    factory = logging.getLogRecordFactory()
    if factory is logging.LogRecord:
        return ()
    return vars(factory("", logging.DEBUG, "", 0, "", (), None))


BUILTINS: Mapping[type, Make] = {
    TaskContext: lambda context: context,
    Progress: lambda context: context.progress,
}
current: ContextVar[TaskContext] = ContextVar("afterword_task")


def current_log() -> AttemptLog | None:
    """Return the log of the attempt that runs here; None: none runs, or its log is not kept."""
    context = current.get(None)
    return None if context is None else context.log


def current_task() -> TaskContext:
    """The running attempt, in a task and in the code that it calls, awaits or starts.

    Raises:
        NotInTask: no task runs here.
    """
    try:
        return current.get()
    except LookupError:
        raise NotInTask(
            "current_task() must be called in a task, or in code that a task calls, awaits or"
            " starts, but no task runs here."
        ) from None
