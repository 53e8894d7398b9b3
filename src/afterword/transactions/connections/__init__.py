"""The users' own connections and sessions, each behind the same few verbs.

What is needed of them: to execute a store's statements inside the user's transaction, and, where a
task completes with its effects, to begin, commit and roll back. One file for each driver; none of
them is imported before the user has shown a connection of it.

Errors are left as the driver raises them: it is the user's transaction, and the user's code knows
which of them to repeat it for.
"""

import sys
from collections.abc import Callable
from typing import Any, Literal, Protocol

from afterword.errors import ConfigurationError
from afterword.store.protocol import Statement

Row = tuple[Any, ...]

_ACCEPTED = (
    "SQLAlchemy's Session, AsyncSession, Connection and AsyncConnection, SQLModel's Session,"
    " psycopg's Connection and AsyncConnection, asyncpg's Connection, sqlite3's Connection"
)


class UserConnection(Protocol):
    """A synchronous connection or session; `connections.sqlite3` has one."""

    @property
    def awaited(self) -> Literal[False]:
        """It blocks."""

    @property
    def session(self) -> Any:
        """The session, if it is SQLAlchemy's, which tells of its commits; else None."""

    @property
    def source(self) -> object:
        """The user's own connection or session."""

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open on it; False once it has been closed."""

    @property
    def key(self) -> object | None:
        """What leads to one database for as long as it exists; None: ask each time."""

    @property
    def name(self) -> str:
        """Its database, as a message may show it: without password."""

    def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement in the present transaction; the rows it returns."""

    def begin(self) -> None:
        """Begin the transaction that `commit` will end, unless there is one."""

    def commit(self) -> None:
        """Commit it."""

    def rollback(self) -> None:
        """Roll it back."""


class AsyncUserConnection(Protocol):
    """An asynchronous connection or session; `connections.asyncpg` has one."""

    @property
    def awaited(self) -> Literal[True]:
        """It is awaited."""

    @property
    def session(self) -> Any:
        """As `UserConnection.session`."""

    @property
    def source(self) -> object:
        """As `UserConnection.source`."""

    @property
    def in_transaction(self) -> bool:
        """As `UserConnection.in_transaction`."""

    @property
    def key(self) -> object | None:
        """As `UserConnection.key`."""

    @property
    def name(self) -> str:
        """As `UserConnection.name`."""

    async def execute(self, statement: Statement) -> list[Row]:
        """As `UserConnection.execute`."""

    async def begin(self) -> None:
        """As `UserConnection.begin`."""

    async def commit(self) -> None:
        """As `UserConnection.commit`."""

    async def rollback(self) -> None:
        """As `UserConnection.rollback`."""


def adapt(connection: Any) -> UserConnection | AsyncUserConnection:
    """The verbs of a user's connection.

    Raises:
        ConfigurationError: nothing that is known here.
    """
    for module, name, load in _KINDS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(connection, kind):
            return load()(connection)
    raise ConfigurationError(
        f"Jobs can be added through one of [{_ACCEPTED}],"
        f" but this is a {type(connection).__module__}.{type(connection).__qualname__}."
    )


Adapter = Callable[[Any], UserConnection | AsyncUserConnection]


def _sqlalchemy() -> Adapter:
    from afterword.transactions.connections.sqlalchemy import SQLAlchemyConnection

    return SQLAlchemyConnection


def _sqlalchemy_async() -> Adapter:
    from afterword.transactions.connections.sqlalchemy import AsyncSQLAlchemyConnection

    return AsyncSQLAlchemyConnection


def _psycopg() -> Adapter:
    from afterword.transactions.connections.psycopg import PsycopgConnection

    return PsycopgConnection


def _psycopg_async() -> Adapter:
    from afterword.transactions.connections.psycopg import AsyncPsycopgConnection

    return AsyncPsycopgConnection


def _asyncpg() -> Adapter:
    from afterword.transactions.connections.asyncpg import AsyncpgConnection

    return AsyncpgConnection


def _sqlite3() -> Adapter:
    from afterword.transactions.connections.sqlite3 import SQLite3Connection

    return SQLite3Connection


# Where a kind of connection is found once its driver has been imported, and what adapts it.
_KINDS: tuple[tuple[str, str, Callable[[], Adapter]], ...] = (
    ("sqlalchemy.orm", "Session", _sqlalchemy),
    ("sqlalchemy.engine", "Connection", _sqlalchemy),
    ("sqlalchemy.ext.asyncio", "AsyncSession", _sqlalchemy_async),
    ("sqlalchemy.ext.asyncio", "AsyncConnection", _sqlalchemy_async),
    ("psycopg", "Connection", _psycopg),
    ("psycopg", "AsyncConnection", _psycopg_async),
    ("asyncpg.connection", "Connection", _asyncpg),
    ("asyncpg.pool", "PoolConnectionProxy", _asyncpg),
    ("sqlite3", "Connection", _sqlite3),
)
