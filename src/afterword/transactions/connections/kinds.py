"""The types of the users' connections, for type checkers; no driver is imported for them."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import sqlite3

    import psycopg
    import sqlalchemy
    import sqlalchemy.orm


class Awaited(Protocol):
    """A connection with an awaited `execute`: asyncpg's, and psycopg's and SQLAlchemy's async."""

    def execute(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Execute a statement."""


class AsyncSession(Protocol):
    """SQLAlchemy's AsyncSession, SQLModel's included."""

    sync_session: Any


Synchronous: TypeAlias = (
    "sqlalchemy.orm.Session | sqlalchemy.Connection | psycopg.Connection[Any] | sqlite3.Connection"
)
