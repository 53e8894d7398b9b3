"""The users' connections as types, for mypy and its like; no driver is imported for them."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import sqlite3

    import psycopg
    import sqlalchemy
    import sqlalchemy.orm


class Awaited(Protocol):
    """Whose `execute` is awaited: asyncpg's, and the async ones of psycopg and SQLAlchemy."""

    def execute(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Execute a statement."""


class AsyncSession(Protocol):
    """SQLAlchemy's AsyncSession, SQLModel's included."""

    sync_session: Any


Synchronous: TypeAlias = (
    "sqlalchemy.orm.Session | sqlalchemy.Connection | psycopg.Connection[Any] | sqlite3.Connection"
)
