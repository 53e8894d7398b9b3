"""Visitors: every kind of connection that can be bound, each with the same methods.

A visitor uses the store's database, and has its own table `effects` there.
"""

import inspect
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import sqlalchemy
import sqlalchemy.event
import sqlmodel
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession

from afterword import current_task
from afterword.model.job import NewJob

CREATE = "CREATE TABLE IF NOT EXISTS effects (name TEXT NOT NULL)"
EMPTY = "DELETE FROM effects"  # of an earlier test


class Visitor:
    """An open connection or session.

    Args:
        raw: the bound object, with SQLAlchemy's methods, blocking or awaited.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def note(self, name: str) -> None:
        """Insert an effect."""
        await self.execute(f"INSERT INTO effects (name) VALUES ('{name}')")

    async def effects(self) -> list[str]:
        """Return the effects that this transaction sees."""
        return sorted(row[0] for row in await self.rows("SELECT name FROM effects"))

    async def execute(self, sql: str) -> None:
        """Execute a statement."""
        await _maybe(self._execute(sqlalchemy.text(sql)))

    async def rows(self, sql: str) -> list[Any]:
        """Return the rows of a query."""
        return list(await _maybe(self._execute(sqlalchemy.text(sql))))

    @property
    def _execute(self) -> Callable[..., Any]:
        """The method that executes; SQLModel's `execute` gives warnings."""
        execute: Callable[..., Any] = getattr(self.raw, "exec", self.raw.execute)
        return execute

    async def begin(self) -> None:
        """Begin another transaction, if that does not happen by itself."""

    async def commit(self) -> None:
        """Commit."""
        await _maybe(self.raw.commit())

    async def rollback(self) -> None:
        """Roll back."""
        await _maybe(self.raw.rollback())

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Set a savepoint, and roll back to it if the block raises."""
        nested = self.raw.begin_nested()
        if hasattr(nested, "__aenter__"):
            async with nested:
                yield
        else:
            with nested:
                yield


class Plain(Visitor):
    """A visitor that takes SQL as text, and savepoints as statements."""

    async def execute(self, sql: str) -> None:
        await _maybe(self.raw.execute(sql))

    async def rows(self, sql: str) -> list[Any]:
        cursor = await _maybe(self.raw.execute(sql))
        return list(await _maybe(cursor.fetchall()))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        await self.execute("SAVEPOINT here")
        try:
            yield
        except BaseException:
            await self.execute("ROLLBACK TO here")
            raise
        await self.execute("RELEASE here")


class Asyncpg(Plain):
    """A visitor that begins its transactions by a statement."""

    async def rows(self, sql: str) -> list[Any]:
        return list(await self.raw.fetch(sql))

    async def begin(self) -> None:
        await self.execute("BEGIN")

    async def commit(self) -> None:
        await self.execute("COMMIT")

    async def rollback(self) -> None:
        await self.execute("ROLLBACK")


async def add(binding: Any, func: Callable[..., object], *args: object) -> NewJob:
    """Call `add_task`, and await it if needed."""
    job: NewJob = await _maybe(binding.add_task(func, *args))
    return job


@asynccontextmanager
async def completing(visitor: Visitor) -> AsyncIterator[None]:
    """Enter `complete_in` by `with` or `async with`, as needed."""
    manager: Any = current_task().complete_in(visitor.raw)
    if hasattr(manager, "__aenter__"):
        async with manager:
            yield
    else:
        with manager:
            yield


async def _maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


# ---------------------------------------------------------------------- opening each kind


Open = Callable[[str], AbstractAsyncContextManager[Visitor]]


def _sync(kind: Callable[[sqlalchemy.Engine], Any]) -> Open:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Visitor]:
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        try:
            with kind(engine) as raw:
                yield Visitor(raw)
        finally:
            engine.dispose()

    return opened


def _async(kind: Callable[[AsyncEngine], Any]) -> Open:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Visitor]:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with kind(engine) as raw:
                yield Visitor(raw)
        finally:
            await engine.dispose()

    return opened


@asynccontextmanager
async def _sqlite3(url: str) -> AsyncIterator[Visitor]:
    raw = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        yield Plain(raw)
    finally:
        raw.close()


@asynccontextmanager
async def _psycopg(url: str) -> AsyncIterator[Visitor]:
    with psycopg.connect(url) as raw:
        yield Plain(raw)


@asynccontextmanager
async def _psycopg_async(url: str) -> AsyncIterator[Visitor]:
    async with await psycopg.AsyncConnection.connect(url) as raw:
        yield Plain(raw)


@asynccontextmanager
async def _asyncpg(url: str) -> AsyncIterator[Visitor]:
    raw = await asyncpg.connect(url)
    try:
        yield Asyncpg(raw)
    finally:
        await raw.close()


@asynccontextmanager
async def _asyncpg_pool(url: str) -> AsyncIterator[Visitor]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as raw:
        yield Asyncpg(raw)


# The driver's scheme, and a function that opens a visitor of this kind.
SQLITE: dict[str, tuple[str, Open]] = {
    "Session": ("sqlite+pysqlite", _sync(Session)),
    "SQLModel": ("sqlite+pysqlite", _sync(sqlmodel.Session)),
    "Connection": ("sqlite+pysqlite", _sync(sqlalchemy.Engine.connect)),
    "AsyncSession": ("sqlite+aiosqlite", _async(AsyncSession)),
    "AsyncConnection": ("sqlite+aiosqlite", _async(AsyncEngine.connect)),
    "sqlite3": ("sqlite", _sqlite3),
}
POSTGRES: dict[str, tuple[str, Open]] = {
    "Session": ("postgresql+psycopg", _sync(Session)),
    "SQLModel": ("postgresql+psycopg", _sync(sqlmodel.Session)),
    "Connection": ("postgresql+psycopg", _sync(sqlalchemy.Engine.connect)),
    "AsyncSession-asyncpg": ("postgresql+asyncpg", _async(AsyncSession)),
    "AsyncSession-psycopg": ("postgresql+psycopg", _async(AsyncSession)),
    "SQLModel-asyncpg": ("postgresql+asyncpg", _async(SQLModelAsyncSession)),
    "AsyncConnection-asyncpg": ("postgresql+asyncpg", _async(AsyncEngine.connect)),
    "psycopg": ("postgresql", _psycopg),
    "psycopg-async": ("postgresql", _psycopg_async),
    "asyncpg": ("postgresql", _asyncpg),
    "asyncpg-pool": ("postgresql", _asyncpg_pool),
}
KINDS = [*(f"sqlite-{kind}" for kind in SQLITE), *(f"postgres-{kind}" for kind in POSTGRES)]
SESSIONS = [kind for kind in KINDS if "Session" in kind or "SQLModel" in kind]


class Database:
    """The database of a store and its visitors.

    Args:
        url: of the store.
        kind: one of KINDS.
    """

    def __init__(self, url: str, kind: str) -> None:
        self.url = url
        self.kind = kind
        where, _, name = kind.partition("-")
        self._scheme, self._open = (SQLITE if where == "sqlite" else POSTGRES)[name]

    @asynccontextmanager
    async def visit(self, *, begun: bool = True) -> AsyncIterator[Visitor]:
        """Open a connection or session of this kind, in a transaction."""
        async with self._open(self.engine_url) as visitor:
            if begun:
                await visitor.begin()
            yield visitor

    @property
    def engine_url(self) -> str:
        """The URL for SQLAlchemy, for this kind."""
        return f"{self._scheme}:{self.url.partition(':')[2]}"

    def prepare(self) -> None:
        """Create the visitors' own table, or empty it."""
        scheme = "sqlite" if self.kind.startswith("sqlite") else "postgresql+psycopg"
        engine = sqlalchemy.create_engine(f"{scheme}:{self.url.partition(':')[2]}")
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(CREATE))
            connection.execute(sqlalchemy.text(EMPTY))
        engine.dispose()

    async def effects(self) -> list[str]:
        """Return the committed effects."""
        async with self.visit() as visitor:
            return await visitor.effects()
