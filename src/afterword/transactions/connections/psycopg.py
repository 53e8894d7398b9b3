"""Connections of psycopg 3."""

from typing import Any, Generic, Literal, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from afterword.store.postgres.parameters import pyformat
from afterword.store.protocol import Statement
from afterword.transactions.connections import Row

C = TypeVar("C", bound=psycopg.BaseConnection[Any])


class _Connection(Generic[C]):
    """The answers that need no statement, the same for both kinds of connections."""

    session = None

    def __init__(self, connection: C) -> None:
        self._connection = connection
        self.key = connection

    @property
    def source(self) -> C:
        """The connection."""
        return self._connection

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        return not self._connection.closed and not self._is_idle

    @property
    def name(self) -> str:
        """The connection string, without password."""
        return f"postgresql: {self._connection.info.dsn}"

    @property
    def _is_idle(self) -> bool:
        return self._connection.info.transaction_status is TransactionStatus.IDLE


class PsycopgConnection(_Connection[psycopg.Connection[object]]):
    """A synchronous connection. In autocommit mode, outside of a transaction, nothing is held."""

    awaited: Literal[False] = False

    def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement; the connection's own factories are for the user's rows."""
        with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(pyformat(statement.sql).encode(), dict(statement.values))
            return cursor.fetchall() if cursor.description else []

    def begin(self) -> None:
        """BEGIN, where psycopg does not do it by itself."""
        if self._connection.autocommit and self._is_idle:
            self._connection.execute(b"BEGIN")

    def commit(self) -> None:
        """Commit."""
        self._connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self._connection.rollback()


class AsyncPsycopgConnection(_Connection[psycopg.AsyncConnection[object]]):
    """An asynchronous connection; as the synchronous one."""

    awaited: Literal[True] = True

    async def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement; the connection's own factories are for the user's rows."""
        async with psycopg.AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(pyformat(statement.sql).encode(), dict(statement.values))
            return await cursor.fetchall() if cursor.description else []

    async def begin(self) -> None:
        """BEGIN, where psycopg does not do it by itself."""
        if self._connection.autocommit and self._is_idle:
            await self._connection.execute(b"BEGIN")

    async def commit(self) -> None:
        """Commit."""
        await self._connection.commit()

    async def rollback(self) -> None:
        """Roll back."""
        await self._connection.rollback()
