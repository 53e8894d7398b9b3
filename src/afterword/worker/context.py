"""What a running attempt knows of itself, and what it can do about its job.

A task runs at least once. If its process dies after its work and before its outcome is on record,
the work is done again. Two things help:

- jobs that a task adds (`add_task`) are stored with its completion, so they are added once;
- where the work is a transaction in the store's own database, `complete_in` settles the attempt on
  the task's own connection, under the fence, and commits: what is committed was then done by the
  attempt that completed the job, and by no other (`afterword.transactions.completion`).
"""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, overload

from afterword.client.call import Call, TaskAdder, new_job
from afterword.client.handle import Job
from afterword.errors import ConfigurationError, LostLease, NotInTask
from afterword.injection.needs import native
from afterword.injection.scope import Provided
from afterword.model.job import NewJob
from afterword.model.outcome import Completed
from afterword.store.protocol import Claim, Settlement
from afterword.tasks.options import NO_OPTIONS
from afterword.transactions.completion import Completion
from afterword.transactions.connections import adapt
from afterword.transactions.connections.kinds import Awaited, Synchronous
from afterword.transactions.statements import Transactions
from afterword.worker.progress import Progress
from afterword.worker.services import Builtins, Make, WorkerServices

P = ParamSpec("P")
R = TypeVar("R")


@native(in_processes=True)
class TaskContext(TaskAdder):
    """One attempt at a job: a parameter of a task, or `current_task()`.

    Args:
        claim: the right to it.
        services: what it shares with other attempts.
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
        self.completed = False  # on record already, by `complete_in`
        self.told_to_end: BaseException | None = None
        self.heeded = False  # the task has seen that it was
        self.leaving = False  # the task has returned, and what it was given is given back
        self._options = NO_OPTIONS
        self.over = False  # for the job: whatever its code still comes to is dropped

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
        """1 for the first try, and one more for each further one."""
        return self._claim.attempt

    @property
    def seconds(self) -> float:
        """How long the attempt has run so far."""
        return self._services.monotonic() - self._began

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts at this job: give it to services that take such a key."""
        return self._claim.id

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self._claim.tags

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """The logger of the task's module; job_id, task, queue and attempt are in its records.

        Example:
            current_task().logger.info("sent")
        """
        claim = self._claim
        said = {"job_id": claim.id, "task": claim.task, "queue": claim.queue}
        logger = logging.getLogger(claim.task.partition(":")[0])
        return _Logger(logger, {**said, "attempt": claim.attempt})

    @property
    def cancelled(self) -> bool:
        """Whether the task had better end now: somebody cancelled it, or its time is over.

        For `def` tasks, which nobody can stop; an `async def` task is cancelled where it awaits.
        One that returns after it has seen this is cancelled, and not completed.

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
        """The same, without having been seen by the task."""
        return self.told_to_end is not None

    @property
    def progress(self) -> Progress:
        """How far this attempt has come.

        Example:
            current_task().progress.update(3, total=10, message="resizing")
        """
        if self._progress is None:
            self._progress = Progress(self._claim, self._services.note)
        return self._progress

    @property
    def said_progress(self) -> Progress | None:
        """The same; None if nobody has asked for it."""
        return self._progress

    @property
    def provided(self) -> Provided:
        """What is injected by its annotation alone, made when it is asked for."""
        return Builtins(self, self._services.builtins)

    # ------------------------------------------------------------------ jobs of its own

    # What a task adds exists if and only if this attempt completes: both are stored as one. So an
    # attempt that fails and is repeated adds no job twice. The jobs do not wait for each other.

    def _add_call(self, call: Call) -> Job[Any]:
        job = self.new_job(call)
        self.keep([job])
        return Job(job.id, job.task, inquiries=self._services.inquiries)

    def new_job(self, call: Call) -> NewJob:
        """The job of a call; it is not added."""
        return new_job(call, self._services.injection)

    def keep(self, jobs: Sequence[NewJob]) -> None:
        """Add jobs, as of `add_task`."""
        if self.over or self.completed:
            raise NotInTask(
                f"{self} has ended, and what a task adds is stored with its end. Add it before the"
                " task returns, and before the end of a complete_in block."
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
        after the block still runs; the job is completed, even if that code raises.

        Args:
            connection: to the database in which the store lives; its transaction is committed.

        Raises:
            LostLease: at the end of the block: the job has been given to somebody else.
            ConfigurationError: it leads to another database, or has no transaction.

        Example:
            async def bill(order_id: int) -> None:
                async with AsyncSession(engine) as session:
                    async with current_task().complete_in(session):
                        session.add(Bill(order_id=order_id))
        """
        if self.completed:
            raise LostLease(f"{self} is on record already; complete_in can be used once.")
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
                f"complete_in needs the worker's own process, but {self} runs in a child process,"
                " or in its request. Use it in a task without executor='process', and start the"
                " application."
            )
        return self._services.transactions

    def _settlement(self) -> Settlement:
        children = tuple(self.children)
        return Settlement(self._claim, Completed(), children, seconds=self.seconds)

    def _write_progress(self) -> None:
        """What it has said goes on record while it is still running there."""
        self._services.write_now(self.progress)

    def _on_record(self) -> None:
        self.completed = True
        self._transactions.announce()

    def __str__(self) -> str:
        return f"Attempt {self.attempt} at job {self.job_id} ({self.task})"


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """One that keeps the caller's `extra`, too."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


BUILTINS: Mapping[type, Make] = {
    TaskContext: lambda context: context,
    Progress: lambda context: context.progress,
}
current: ContextVar[TaskContext] = ContextVar("afterword_task")


def current_task() -> TaskContext:
    """The attempt that is running here: in a task, and in what it calls, awaits or starts.

    Raises:
        NotInTask: no task runs here.
    """
    try:
        return current.get()
    except LookupError:
        raise NotInTask(
            "current_task() is for tasks, and for what they call, await or start; this code is run"
            " by none."
        ) from None
