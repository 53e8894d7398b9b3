"""What a running attempt knows of itself, and how it completes together with its effects.

A task runs at least once. If its process dies after its work and before its outcome is on record,
the work is done again. Where the work is a transaction in the store's own database, both can be
one: `complete_in` settles the attempt on the task's own connection, under the fence, and commits.
What is committed was then done by the attempt that completed the job, and by no other.

    begin ──▶ the task's work ──▶ completed, if still ours ──▶ commit ──▶ the task goes on
                   │                      │                      │
                   └── raises: roll back  └── LostLease: roll    └── cut off in the middle: it
                                              back                   raises, and the fence knows
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, overload

from afterword.connections import AsyncUserConnection, UserConnection, adapt
from afterword.connections.kinds import Awaited, Synchronous
from afterword.errors import ConfigurationError, LostLease, NotInTask
from afterword.job import NewJob
from afterword.outcome import Completed
from afterword.store import Claim, Settlement
from afterword.transactions import Steps, Transactions, perform, perform_async


class TaskContext:
    """One attempt at a job.

    Args:
        claim: the right to it.
        transactions: what the store can do on a task's own connection.
        started_at: seconds since 1970.
    """

    def __init__(self, claim: Claim, transactions: Transactions | None, started_at: float) -> None:
        self._claim = claim
        self._transactions = transactions
        self.started_at = started_at
        self.completed = False  # on record already, by `complete_in`
        self.told_to_end = False
        self.heeded = False  # the task has seen that it was
        self.send: Callable[[dict[str, Any]], None] | None = None  # in a child process
        self.children: list[NewJob] = []

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
    def idempotency_key(self) -> str:
        """The same for all attempts at this job: give it to services that take such a key."""
        return self._claim.id

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self._claim.tags

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
        return self.told_to_end

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
        self._store_of_transactions.open()
        adapted = adapt(connection)
        return self._completing_async(adapted) if adapted.awaited else self._completing(adapted)

    @contextlib.contextmanager
    def _completing(self, connection: UserConnection) -> Iterator[None]:
        connection.begin()
        try:
            perform(self._store_of_transactions.verifying(connection), connection)
            yield
            self._require(perform(self._settling(), connection))
            connection.commit()
        except BaseException:
            with contextlib.suppress(Exception):  # the connection is gone: so is the transaction
                connection.rollback()
            raise
        self._on_record()

    @contextlib.asynccontextmanager
    async def _completing_async(self, connection: AsyncUserConnection) -> AsyncIterator[None]:
        await connection.begin()
        try:
            await perform_async(self._store_of_transactions.verifying(connection), connection)
            yield
            self._require(await perform_async(self._settling(), connection))
            await connection.commit()
        except BaseException:
            with contextlib.suppress(Exception):
                await connection.rollback()
            raise
        self._on_record()

    @property
    def _store_of_transactions(self) -> Transactions:
        if self._transactions is None:
            raise ConfigurationError(
                f"complete_in needs the worker's own process, but {self} runs in a child process."
                " Use it in a task without executor='process'."
            )
        return self._transactions

    def _settling(self) -> Steps[bool]:
        return self._store_of_transactions.completing(
            Settlement(self._claim, Completed(), self.started_at)
        )

    def _require(self, ours: bool) -> None:
        if not ours:
            raise LostLease(
                f"{self} could not complete its job: the job has been given to somebody else, who"
                " completes it. The transaction was rolled back."
            )

    def _on_record(self) -> None:
        self.completed = True
        self._store_of_transactions.announce()

    def __str__(self) -> str:
        return f"Attempt {self.attempt} at job {self.job_id} ({self.task})"


current: ContextVar[TaskContext] = ContextVar("afterword_task")


def current_task() -> TaskContext:
    """The attempt that is running here: in a task, and in what it calls or awaits.

    Raises:
        NotInTask: nothing that a worker runs.
    """
    try:
        return current.get()
    except LookupError:
        raise NotInTask(
            "current_task() is for code that a worker runs, but none runs this. (A task that could"
            " not be stored, or whose application was not started, runs in its request.)"
        ) from None
