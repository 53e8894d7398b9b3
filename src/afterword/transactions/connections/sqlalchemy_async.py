"""Asynchronous connections and sessions of SQLAlchemy, those of SQLModel included.

A module of its own, because `sqlalchemy.ext.asyncio` cannot be imported without greenlet, which
SQLAlchemy 2.1 does not install by itself.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from afterword.store.protocol import Statement
from afterword.transactions.connections import Row
from afterword.transactions.connections.sqlalchemy import (
    SQLAlchemyConnection,
    engine_of,
    name_of,
    require_ended,
)

T = TypeVar("T")


class AsyncSQLAlchemyConnection:
    """An AsyncSession or an AsyncConnection: the same, in SQLAlchemy's greenlet."""

    awaited: Literal[True] = True

    def __init__(self, source: AsyncSession | AsyncConnection) -> None:
        self._source = source
        self.session = source.sync_session if isinstance(source, AsyncSession) else None

    @property
    def source(self) -> AsyncSession | AsyncConnection:
        """The session or the connection."""
        return self._source

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        return self._source.in_transaction()

    @property
    def key(self) -> Engine:
        """The engine."""
        if isinstance(self._source, AsyncSession):
            return engine_of(self._source.sync_session)
        return self._source.sync_engine

    @property
    def name(self) -> str:
        """The engine's URL."""
        return name_of(self.key)

    async def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement; nothing is flushed for it."""
        return await self._run(lambda connection: connection.execute(statement))

    async def begin(self) -> None:
        """As `SQLAlchemyConnection.begin`."""
        await self._run(SQLAlchemyConnection.begin)

    async def commit(self) -> None:
        """As `SQLAlchemyConnection.commit`."""
        root = await self._run(lambda connection: connection.root)
        await self._source.commit()
        require_ended(root)

    async def rollback(self) -> None:
        """Roll back."""
        await self._source.rollback()

    async def _run(self, verb: Callable[[SQLAlchemyConnection], T]) -> T:
        def run(source: Any) -> T:
            return verb(SQLAlchemyConnection(source))

        return await self._source.run_sync(run)
