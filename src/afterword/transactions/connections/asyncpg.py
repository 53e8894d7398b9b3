"""Connections of asyncpg, which has no type hints, so mypy cannot check this module."""

from typing import Any, Literal

from afterword.errors import ConfigurationError
from afterword.store.postgres.parameters import numbered
from afterword.store.protocol import Statement
from afterword.transactions.connections import Row


class AsyncpgConnection:
    """A connection, maybe of a pool. Outside a transaction, each statement is its own."""

    awaited: Literal[True] = True
    session = None

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction: Any = None

    @property
    def source(self) -> Any:
        """The connection."""
        return self._connection

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        try:
            return not self._connection.is_closed() and self._connection.is_in_transaction()
        except Exception:  # given back to its pool
            return False

    @property
    def key(self) -> object | None:
        """The connection itself: a pool returns a new proxy object each time."""
        inner: object = getattr(self._connection, "_con", self._connection)
        return inner

    @property
    def name(self) -> str:
        """The database name, if asyncpg has it."""
        parameters = getattr(self._connection, "_params", None)
        return f"postgresql: dbname={getattr(parameters, 'database', '(unknown)')}"

    async def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement."""
        sql, names = numbered(statement.sql)
        values = (statement.values[name] for name in names)
        return [tuple(row) for row in await self._connection.fetch(sql, *values)]

    async def begin(self) -> None:
        """Begin a transaction, which must be the outermost one.

        Raises:
            ConfigurationError: a transaction is already open.
        """
        if self._connection.is_in_transaction():
            raise ConfigurationError(
                "complete_in(...) commits, so it must not be inside a transaction of its"
                " connection. Let it begin the transaction:\n"
                "    async with connection.transaction():  # incorrect!\n"
                "        async with context.complete_in(connection): ...\n"
                "    async with context.complete_in(connection): ...  # correct!"
            )
        self._transaction = self._connection.transaction()
        await self._transaction.start()

    async def commit(self) -> None:
        """Commit."""
        await self._transaction.commit()

    async def rollback(self) -> None:
        """Roll back."""
        await self._transaction.rollback()
