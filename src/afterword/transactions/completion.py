"""Completion of an attempt in one transaction with its effects, on the task's own connection.

begin ──▶ the task's work ──▶ completed, if still ours ──▶ commit ──▶ the task goes on
               │                      │                      │
               └── raises: roll back  └── LostLease: roll    └── cut off in the middle: it
                                          back                   raises, and the fence knows
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from afterword.errors import LostLease
from afterword.store.protocol import Settlement
from afterword.transactions.connections import AsyncUserConnection, UserConnection
from afterword.transactions.statements import Transactions, perform, perform_async


class Completion:
    """One transaction of a task that completes its job.

    Args:
        transactions: the store's statements on other connections.
        settlement: returns the settlement of the attempt, once its work is done.
        on_record: called after the commit.
        prepare: called before the transaction begins; may block. None: nothing to prepare.
        name: of the attempt, for messages.
    """

    def __init__(
        self,
        transactions: Transactions,
        settlement: Callable[[], Settlement],
        on_record: Callable[[], None],
        prepare: Callable[[], None] | None,
        name: str,
    ) -> None:
        self._transactions, self._settlement = transactions, settlement
        self._on_record, self._prepare, self._name = on_record, prepare, name

    @contextlib.contextmanager
    def on(self, connection: UserConnection) -> Iterator[None]:
        """Complete it on a synchronous connection."""
        if self._prepare is not None:
            self._prepare()
        connection.begin()
        try:
            perform(self._transactions.verifying(connection), connection)
            yield
            settling = self._transactions.completing(self._settlement())
            self._require(perform(settling, connection))
            connection.commit()
        except BaseException:
            with contextlib.suppress(Exception):  # the connection is gone: so is the transaction
                connection.rollback()
            raise
        self._on_record()

    @contextlib.asynccontextmanager
    async def on_awaited(self, connection: AsyncUserConnection) -> AsyncIterator[None]:
        """Complete it on an asynchronous connection."""
        if self._prepare is not None:
            await asyncio.to_thread(self._prepare)
        await connection.begin()
        try:
            await perform_async(self._transactions.verifying(connection), connection)
            yield
            settling = self._transactions.completing(self._settlement())
            self._require(await perform_async(settling, connection))
            await connection.commit()
        except BaseException:
            with contextlib.suppress(Exception):
                await connection.rollback()
            raise
        self._on_record()

    def _require(self, ours: bool) -> None:
        if not ours:
            raise LostLease(
                f"{self._name} could not complete its job: another worker has the job"
                " by now, and completes it. The transaction was rolled back."
            )
