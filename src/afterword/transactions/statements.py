"""The store's statements in the users' transactions: they add jobs and complete attempts.

Generators decide what to execute: they yield statements and are sent the rows. `perform` executes
them on a synchronous connection, `perform_async` on an asynchronous one.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar
from weakref import WeakSet

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling
from afterword.errors import ConfigurationError
from afterword.model.job import NewJob
from afterword.store.protocol import Settlement, Statement, Store
from afterword.transactions.connections import AsyncUserConnection, Row, UserConnection

T = TypeVar("T")
Either = UserConnection | AsyncUserConnection
Steps = Generator[Statement, list[Row], T]


class Transactions:
    """The operations of one store in transactions that are not its own.

    Args:
        group: runs the store; started when it is first needed.
        advice: a sentence that errors about the wrong database end with.
    """

    def __init__(self, group: GroupCommit, advice: str = "") -> None:
        self._group = group
        self._advice = f" {advice}" if advice else ""
        self._known: WeakSet[object] = WeakSet()  # certainly lead to our database
        self._known_names: set[str] = set()

    def open(self) -> None:
        """Open the store if it is not open; refuse one that no other connection can share.

        Raises:
            ConfigurationError: the store is a SQLite file of its own.
            StoreError: the store cannot be opened.
        """
        store = self._group.store
        if store.url.startswith("sqlite:///"):
            raise ConfigurationError(
                "The store can take part in a transaction of yours only if it lives in the same"
                f" database, but {store.url} is a file that only the store uses."
                " For a store in the application's own SQLite file write:"
                f' Afterword(app, url="sqlite+pysqlite:///app.db"){self._advice}'
            )
        if not self._group.running:
            self._group.start()

    def announce(self) -> None:
        """Notify the workers of committed jobs or freed followers; never blocks."""
        self._group.submit(calling(_announce))

    def adding(self, jobs: Sequence[NewJob], *, announced: bool) -> Steps[None]:
        """Add jobs. `announced`: the caller will call `announce` after the commit."""
        yield from _executing(self._group.store.adding(jobs))
        if not announced:
            yield from _executing(self._group.store.announcing())

    def completing(self, settlement: Settlement) -> Steps[bool]:
        """Settle an attempt, under the fence; False: another worker has the job."""
        first, *others = self._group.store.completing(settlement)
        if not (yield first):
            return False
        yield from _executing(others)
        return True

    def verifying(self, connection: Either, *, to_write: bool = False) -> Steps[None]:
        """Refuse a connection that does not lead to the store's own database.

        Args:
            to_write: begin to write at once. SQLite refuses, instead of waiting for its turn, a
                transaction that has read before it writes, if another one has written meanwhile.

        Raises:
            ConfigurationError: it leads elsewhere.
        """
        key = connection.key
        known: set[str] | WeakSet[object]
        known = self._known_names if isinstance(key, str) else self._known
        first = self._group.store.reserving() if to_write else ()
        if key is not None and key in known:
            yield from _executing(first)
            return
        try:
            yield from _executing(first)
            rows = yield self._group.store.identifying()
        except Exception as error:
            if not _has_no_store(error):
                raise
            raise self._elsewhere(connection) from error
        if [(self._group.store.identity,)] != rows:
            raise self._elsewhere(connection)
        if key is not None:
            known.add(key)  # type: ignore[arg-type]

    def _elsewhere(self, connection: Either) -> ConfigurationError:
        return ConfigurationError(
            "The store can take part in a transaction of yours only if it lives in the same"
            f" database, but the store is {self._group.store.url} and the connection leads to"
            f" {connection.name}. Give Afterword the URL of that database.{self._advice}"
        )


def perform(steps: Steps[T], connection: UserConnection) -> T:
    """Execute the steps on a synchronous connection."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = connection.execute(statement)
            except Exception as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


async def perform_async(steps: Steps[T], connection: AsyncUserConnection) -> T:
    """Execute the steps on an asynchronous connection."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = await connection.execute(statement)
            except Exception as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


def _executing(statements: Sequence[Statement]) -> Steps[None]:
    # `yield from` would send the rows to the sequence.
    for statement in statements:  # noqa: UP028
        yield statement


def _announce(store: Store) -> None:
    store.announce()


def _has_no_store(error: Exception) -> bool:
    """True for the error of a database that lacks (or does not show) the store's tables."""
    cause = getattr(error, "orig", None) or error  # SQLAlchemy keeps the driver's own error there
    # https://www.postgresql.org/docs/current/errcodes-appendix.html: syntax, names and rights
    return (getattr(cause, "sqlstate", None) or "").startswith("42") or "no such table" in str(
        cause
    )
