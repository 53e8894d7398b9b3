"""The users' own connections and sessions, each behind the same few verbs.

The verbs execute a store's statements inside the user's transaction. For a task that completes with
its effects, they also begin, commit and roll back. There is one file for each driver, which is
imported when the first connection of that driver is used.

Errors are raised as the driver raises them: it is the user's transaction, and the user's code
decides for which errors to repeat it.
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


class _Connection(Protocol):
    @property
    def session(self) -> Any:
        """The session, if it is SQLAlchemy's, which has events for commits; else None."""

    @property
    def source(self) -> object:
        """The user's own connection or session."""

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open on it; False once it has been closed."""

    @property
    def key(self) -> object | None:
        """A key that identifies one database as long as it exists; None: check each time."""

    @property
    def name(self) -> str:
        """The database, for messages: without password."""


class UserConnection(_Connection, Protocol):
    """A synchronous connection or session; `connections.sqlite3` has one."""

    @property
    def awaited(self) -> Literal[False]:
        """False: its verbs block."""

    def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement in the present transaction, and return the rows."""

    def begin(self) -> None:
        """Begin the transaction that `commit` will end, unless there is one."""

    def commit(self) -> None:
        """Commit it."""

    def rollback(self) -> None:
        """Roll it back."""


class AsyncUserConnection(_Connection, Protocol):
    """An asynchronous connection or session; `connections.asyncpg` has one."""

    @property
    def awaited(self) -> Literal[True]:
        """True: its verbs are awaited."""

    async def execute(self, statement: Statement) -> list[Row]:
        """As `UserConnection.execute`."""

    async def begin(self) -> None:
        """As `UserConnection.begin`."""

    async def commit(self) -> None:
        """As `UserConnection.commit`."""

    async def rollback(self) -> None:
        """As `UserConnection.rollback`."""


def adapt(connection: Any) -> UserConnection | AsyncUserConnection:
    """Wrap a user's connection in the verbs.

    Raises:
        ConfigurationError: this kind of connection is not supported.
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
    from afterword.transactions.connections.sqlalchemy_async import AsyncSQLAlchemyConnection

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
