"""The connection that writes, and the wake-ups after its commits."""

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from afterword import telemetry
from afterword.errors import StoreUnavailable
from afterword.store.bells import Bells
from afterword.store.columns import filled
from afterword.store.parts import Row, Values
from afterword.store.sqlite.drivers import Connection, Driver, as_ours

# As bytes: they may be damaged.
_SHOWN = {"arguments": "CAST(arguments AS BLOB)"}
WAL_LIMIT = 64 * 1024 * 1024  # bytes a WAL file keeps after a checkpoint
_WARN_EVERY = 60.0  # seconds
# Seconds between looks for commits of others, and where these cannot ring.
_LOOK_EVERY, _LOOK_OFTEN = 0.25, 0.01
_of_parents: list[object] = []  # kept for ever, see `Writer.forget`


class News:
    """Wakes this process and the others when jobs have become claimable.

    Args:
        bells: of the processes that share the file.
    """

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self.heard: Callable[[], object] | None = None  # called when something is claimable
        self._untold = False  # something became claimable before `heard` was set

    def listen(self, heard: Callable[[], object]) -> float:
        """Call `heard` for jobs of this process, and when another process rings.

        Returns:
            Seconds between two calls of `changed`, which finds jobs for which no bell rang.
        """
        self.heard = heard
        return _LOOK_EVERY if self._bells.listen(heard) else _LOOK_OFTEN

    def tell(self) -> None:
        """Wake all that wait for jobs, here and in other processes."""
        self._bells.ring()
        if self.heard is None:
            self._untold = True
        else:
            self.heard()

    def close(self) -> None:
        """Stop listening; harmless when closed."""
        self.heard = None
        self._bells.close()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self.heard = None
        self._bells.forget()

    def take_untold(self) -> bool:
        """Return True, once, if there was news before anything listened."""
        untold, self._untold = self._untold, False
        return untold


class Writer:
    """The connection that writes: for one thread at a time, as long as its transaction lasts.

    A statement is named by its file in sql/, without the suffix.

    Args:
        path: the store's file.
        news: told after each commit that made something claimable.
    """

    def __init__(self, path: Path, driver: Driver, news: News) -> None:
        self.path = path
        self._driver = driver
        self._news = news
        self._connection: Connection | None = None
        self._lock = threading.RLock()
        self._in_transaction = False
        self._owner = 0  # the thread whose transaction it is
        self._claimable = False  # this transaction makes something claimable
        self._seen_version = 0
        self._file: tuple[int, int] | None = None  # the file's identity when it was opened
        self._warned_at = float("-inf")  # monotonic

    # ------------------------------------------------------------------ open and close

    def use(self, connection: Connection) -> None:
        """Write by this connection from now on."""
        self._connection = connection
        self._seen_version = self._version_of_others()

    def pin_file(self) -> None:
        """Remember the file: if another one replaces it, nothing more is written."""
        self._file = _identity_of(self.path)

    def close(self) -> None:
        """Close the connection; harmless when closed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._file = None

    def forget(self) -> None:
        """In a forked child: SQLite forbids to use its connections there, even to close them."""
        _of_parents.append(self._connection)
        self._connection = self._file = None
        self._lock = threading.RLock()
        self._in_transaction = False

    @property
    def is_open(self) -> bool:
        """True between `use` and `close`."""
        return self._connection is not None

    @property
    def connection(self) -> Connection:
        """The connection.

        Raises:
            StoreUnavailable: the store is not open.
        """
        if self._connection is None:
            raise StoreUnavailable(f"The store {self.path} is not open.")
        return self._connection

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Put one BEGIN IMMEDIATE ... COMMIT around everything that is written inside."""
        with self._lock:
            if self._in_transaction:
                yield
                return
            self.require_same_file()
            with self.errors():
                self.connection.execute("BEGIN IMMEDIATE")
                self._in_transaction, self._owner = True, threading.get_ident()
                self._claimable = False
                try:
                    yield
                    self.commit()
                    claimable = self._claimable
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
                finally:
                    self._in_transaction = False
        if claimable:
            self._news.tell()

    def commit(self) -> None:
        """Make the transaction durable."""
        self.connection.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: if this part fails, undo only this part."""
        with self.errors():
            self.connection.execute("SAVEPOINT afterword")
            try:
                yield
            except BaseException:
                if self.connection.in_transaction:  # not if the whole of it has been undone
                    self.connection.execute("ROLLBACK TO afterword")
                    self.connection.execute("RELEASE afterword")
                raise
            self.connection.execute("RELEASE afterword")

    @property
    def in_transaction(self) -> bool:
        """True while any thread is inside a transaction."""
        return self._in_transaction

    @property
    def serves_this_thread(self) -> bool:
        """True inside a transaction of the calling thread."""
        return self._in_transaction and self._owner == threading.get_ident()

    def claimable(self) -> None:
        """Note that something became claimable.

        After the commit this process is woken and the others are told; outside of a transaction
        that happens at once.
        """
        if self._in_transaction:
            self._claimable = True
        else:
            self._news.tell()

    # ------------------------------------------------------------------ statements

    def write(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement and return its rows."""
        with self._lock:
            return self.connection.execute(sql(statement), values).fetchall()

    def write_many(self, statement: str, values: Iterable[Values]) -> list[Row]:
        """Execute a statement once for each, and return all their rows."""
        with self._lock:
            return list(self.connection.executemany(sql(statement), values))

    def look(self, statement: str, values: Values) -> list[Row]:
        """Read something for the store's thread, which does not wait for people's queries."""
        with self.errors():
            return self.write(statement, values)

    def changed(self) -> bool:
        """Return True if another connection has committed, or if our own news was not told."""
        untold, version = self._news.take_untold(), self._version_of_others()
        seen, self._seen_version = self._seen_version, version
        return untold or version != seen

    def _version_of_others(self) -> int:
        """Return a number that changes with each commit of another connection."""
        with self._lock, self.errors():
            # The pragma, not apsw's `data_version()`: that one also counts our own commits.
            return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    # ------------------------------------------------------------------ errors

    def require_same_file(self) -> None:
        """Raise if the file is no longer at its path.

        Raises:
            StoreUnavailable: it was deleted, moved or replaced.
        """
        if self._file is not None and _identity_of(self.path) != self._file:
            raise StoreUnavailable(
                f"The store {self.path} was deleted, moved or replaced while it was in use, so"
                " it is not used any more. Put the same file back, or stop every process"
                " that uses it, restore a backup if there is one, and start again."
            )

    def warn_of_growth(self) -> None:
        """Warn, once a minute at most, that the WAL grows because a reader keeps an old state."""
        try:
            size = os.stat(f"{self.path}-wal").st_size  # noqa: PTH116 - called each second
        except OSError:
            return
        if size > WAL_LIMIT and time.monotonic() >= self._warned_at + _WARN_EVERY:
            self._warned_at = time.monotonic()
            telemetry.wal_grows(str(self.path), size)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors, and those of the files beside the database, into ours."""
        try:
            yield
        except (self._driver.error, OSError, UnicodeDecodeError) as error:
            raise as_ours(error, self._driver, self.path) from error


@functools.cache
def sql(statement: str) -> str:
    """Return the text of sql/<statement>.sql, its columns filled in."""
    text = (resources.files(__package__) / "sql" / f"{statement}.sql").read_text()
    return filled(text, _SHOWN, given={})


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file on this machine; None if there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for each transaction
    except OSError:
        return None
    return status.st_dev, status.st_ino
