"""The two ways to a SQLite file: apsw, and the standard library's sqlite3.

apsw brings its own, current SQLite and is the store's choice for a file of its own. In the file of
an application that uses `sqlite3` itself, directly or through SQLAlchemy, the store has to use it
too: POSIX drops a process's locks on a file when any descriptor of it is closed, so two SQLite
libraries in one process undo each other's locks (https://sqlite.org/howtocorrupt.html, 2.2.1).
"""

import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import apsw

from afterword.errors import StoreCorrupt, StoreError, StoreRefused, StoreUnavailable
from afterword.store.parts import Row

BUSY_TIMEOUT = 5.0  # seconds a writer waits for the other processes' transactions
_LOCK_PAUSE = (0.0005, 0.003)  # seconds between two tries to get the lock, at random

# https://sqlite.org/rescode.html
BUSY = 5
_DAMAGED = frozenset({11, 26})  # CORRUPT, NOTADB
_REFUSED = frozenset({18, 19, 20})  # TOOBIG, CONSTRAINT, MISMATCH
# PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL
_UNAVAILABLE = frozenset({3, BUSY, 6, 8, 10, 13, 14, 15})


class Rows(Protocol):
    """The rows that a statement returns."""

    def fetchone(self) -> Any:
        """The next row; None behind the last."""

    def fetchall(self) -> list[Any]:
        """All that are left."""


class Connection(Protocol):
    """A connection of either library. It never begins a transaction by itself."""

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""

    def execute(self, statement: str, values: Any = ..., /) -> Rows:
        """Execute one statement, with `:name` parameters."""

    def executemany(self, statement: str, values: Iterable[Any], /) -> Iterable[Row]:
        """Execute a statement once for each, and return all their rows."""

    def close(self) -> None:
        """Give the file up."""


class Driver(Protocol):
    """A SQLite library: `Apsw` or `Pysqlite`."""

    scheme: str  # of the URLs that ask for it
    shares: bool  # other tables may be in the file, if they are used through the same library
    version: tuple[int, int, int]  # of SQLite
    error: type[Exception]  # the base of all it raises

    def connect(self, path: Path) -> Connection:
        """Open a file that exists."""

    def execute_script(self, connection: Connection, script: str) -> None:
        """Execute several statements, in the transaction that is open."""

    def code(self, error: Exception) -> int:
        """SQLite's result code, without what extends it."""


class Apsw:
    """apsw: `sqlite:///jobs.db`."""

    scheme = "sqlite"
    shares = False
    error: type[Exception] = apsw.Error

    def __init__(self) -> None:
        self.version = _version_of(apsw.sqlite_lib_version())

    def connect(self, path: Path) -> Connection:
        """Open a file that exists."""
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_handler(_Waiting())
        return connection

    def execute_script(self, connection: Connection, script: str) -> None:
        """Execute several statements, in the transaction that is open."""
        connection.execute(script).fetchall()

    def code(self, error: Exception) -> int:
        """SQLite's result code, without what extends it."""
        return int(getattr(error, "result", 0))


class PysqliteConnection(sqlite3.Connection):
    """The standard library's, whose own `executemany` throws the rows away."""

    def executemany(self, statement: str, values: Iterable[Any], /) -> Iterable[Row]:  # type: ignore[override]
        """Execute a statement once for each, and return all their rows."""
        return [row for one in values for row in self.execute(statement, one).fetchall()]


class Pysqlite:
    """The standard library's sqlite3: `sqlite+pysqlite:///app.db`, as SQLAlchemy calls it."""

    scheme = "sqlite+pysqlite"
    shares = True
    error: type[Exception] = sqlite3.Error

    def __init__(self) -> None:
        self.version = _version_of(sqlite3.sqlite_version)

    def connect(self, path: Path) -> Connection:
        """Open a file that exists."""
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            factory=PysqliteConnection,
        )

    def execute_script(self, connection: Connection, script: str) -> None:
        """One by one: its own `executescript` commits first."""
        for statement in _statements(script):
            connection.execute(statement)

    def code(self, error: Exception) -> int:
        """SQLite's result code, without what extends it."""
        return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def has_wal_reset_race(version: tuple[int, int, int]) -> bool:
    """True if several writers in WAL mode can corrupt a file (https://sqlite.org/wal.html, 11).

    >>> [has_wal_reset_race(version) for version in ((3, 40, 1), (3, 51, 2), (3, 51, 3))]
    [True, True, False]
    >>> [has_wal_reset_race(version) for version in ((3, 50, 7), (3, 44, 6), (3, 45, 9))]
    [False, False, True]
    """
    repaired = {(3, 50): 7, (3, 44): 6}  # older releases that got the repair, too
    return version < (3, 51, 3) and version[2] < repaired.get(version[:2], 1_000)


def as_ours(error: Exception, driver: Driver, path: Path) -> StoreError:
    """Return the error to raise for one of the driver, or of the files beside the database."""
    code = driver.code(error)
    if code in _DAMAGED or isinstance(error, UnicodeDecodeError):
        return StoreCorrupt(
            f"{path} is damaged or not a SQLite database ({error}). Keep a copy, then try:"
            f" sqlite3 {path} .recover | sqlite3 recovered.db"
        )
    if code in _UNAVAILABLE or isinstance(error, OSError):
        return StoreUnavailable(f"The store {path} cannot be used now: {error}.")
    if code in _REFUSED:
        return StoreRefused(f"The store {path} refused the values of this call: {error}.")
    return StoreError(f"The store {path} refused a statement: {error}.")


class _Waiting:
    """Called by SQLite while another process writes: wait a little and ask again.

    SQLite's own handler sleeps up to 0.1 s at a time, so that a process that asks at the right
    moment overtakes the others: of six processes that write without a pause one waited 3.4 s for
    its turn, with this handler 0.6 s at about the same throughput.
    """

    def __init__(self) -> None:
        self._began = 0.0  # monotonic

    def __call__(self, tries: int) -> bool:
        if tries == 0:
            self._began = time.monotonic()
        time.sleep(random.uniform(*_LOCK_PAUSE))
        return time.monotonic() - self._began < BUSY_TIMEOUT


def _version_of(text: str) -> tuple[int, int, int]:
    major, minor, patch = text.split(".")[:3]
    return int(major), int(minor), int(patch)


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements, each complete."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
