"""An attempt is completed together with its effects, on the task's own connection.

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
    """One transaction of a task's that completes its job.

    Args:
        transactions: what the store can do on other connections.
        settlement: how the attempt ends, as soon as its work is done.
        on_record: called after the commit.
        prepare: called before it begins; blocks. None: there is nothing to prepare.
        name: what to call the attempt.
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
        """On a connection that blocks."""
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
        """On one that is awaited."""
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
                f"{self._name} could not complete its job: the job has been given to somebody"
                " else, who completes it. The transaction was rolled back."
            )
