"""The file: opened, migrated, written by one connection and read by another."""

import functools
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import apsw

from afterword.errors import SchemaTooNew, StoreCorrupt, StoreError, StoreUnavailable
from afterword.stores.sqlite.path import check_path
from afterword.stores.sqlite.rows import Row, Values

BUSY_TIMEOUT = 10.0  # seconds a writer waits for the other processes' transactions
_LOCK_PAUSE = (0.0005, 0.003)  # seconds between two tries to get the lock, at random
_APPLICATION_ID = 0x41465457  # "AFTW", in the file's header (PRAGMA application_id)
_WAL_LIMIT = 64 * 1024 * 1024  # bytes a WAL file keeps after a checkpoint


class Database:
    """One process's use of a store's file. Statements are called by their file's name in sql/."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._reading = threading.Lock()
        self._in_transaction = False

    # ------------------------------------------------------------------ open and close

    def open(self) -> None:
        """Create the file if there is none, migrate it, and take it into use.

        Raises:
            ConfigurationError: it cannot be a store.
            StoreCorrupt: it is something else, or damaged.
            SchemaTooNew: a newer release has written it.
            StoreUnavailable: not now.
        """
        if self._writer is not None:
            return
        check_path(self.path)
        try:
            with self.errors():
                self._take_into_use()
        except BaseException:
            self.close()  # a refused file must not look open to the next call
            raise

    def _take_into_use(self) -> None:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._writer = self._connect()
        self._migrate()
        self._reader = self._connect()
        self._reader.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close both connections; harmless when closed."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def _connect(self) -> apsw.Connection:
        """A connection; waits for processes that open or close the same file at this moment.

        SQLite itself does not: it calls no busy handler when it changes the journal mode.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                self._set_up(connection)
            except BaseException as error:
                connection.close()
                if not isinstance(error, apsw.BusyError) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return connection

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(_wait_for_lock)
        self._require_ours(connection)  # before anything is written, the journal mode included
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")

    def _require_ours(self, connection: apsw.Connection) -> None:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables != (0,) and connection.pragma("application_id") != _APPLICATION_ID:
            raise StoreCorrupt(
                f"The store must be a file of its own, but {self.path} holds other tables."
                " Give Afterword another file name, such as sqlite:///jobs.db"
            )

    def _migrate(self) -> None:
        """Bring the file to this release's schema; processes that start together take turns."""
        migrations = _migrations()
        if self._version() > len(migrations):
            raise SchemaTooNew(
                f"{self.path} has schema {self._version()}, but this release of Afterword knows"
                f" schemas up to {len(migrations)}. Upgrade it here too: older code must not write."
            )
        with self.transaction():
            for number, migration in enumerate(migrations, start=1):
                if number > self._version():
                    self.connection.execute(migration)
                    self.connection.execute(f"PRAGMA user_version = {number}")
            self.connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self.write("unblock", {})

    def _version(self) -> int:
        return int(self.connection.pragma("user_version"))

    @property
    def connection(self) -> apsw.Connection:
        """The one that writes.

        Raises:
            StoreUnavailable: the database is not open.
        """
        if self._writer is None:
            raise StoreUnavailable(f"The store {self.path} is not open.")
        return self._writer

    # ------------------------------------------------------------------ statements

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One BEGIN IMMEDIATE ... COMMIT around everything that is written inside."""
        if self._in_transaction:
            yield
            return
        with self.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            self._in_transaction = True
            try:
                yield
                self.commit()
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            finally:
                self._in_transaction = False

    def commit(self) -> None:
        """Make the transaction durable."""
        self.connection.execute("COMMIT")

    def write(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement on the writing connection; the rows it returns."""
        return self.connection.execute(sql(statement), dict(values)).fetchall()

    def write_many(self, statement: str, values: Iterable[Values]) -> list[Row]:
        """Execute a statement once for each; all the rows they return."""
        each = (dict(one) for one in values)
        return self.connection.executemany(sql(statement), each).fetchall()

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement on the reading connection, from any thread."""
        with self._reading, self.errors():
            if self._reader is None:
                raise StoreUnavailable(f"The store {self.path} is not open.")
            return self._reader.execute(sql(statement), dict(values)).fetchall()

    def version_of_others(self) -> int:
        """A number that changes with each commit of another connection."""
        with self.errors():
            # The pragma, not `Connection.data_version()`: that one also counts our own commits.
            return int(self.connection.execute("PRAGMA data_version").get)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The driver's errors become ours."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreCorrupt(
                f"{self.path} is damaged or not a SQLite database ({error}). Keep a copy, then try:"
                f" sqlite3 {self.path} .recover | sqlite3 recovered.db"
            ) from error
        except (
            apsw.BusyError,
            apsw.CantOpenError,
            apsw.FullError,
            apsw.IOError,
            apsw.LockedError,
            apsw.PermissionsError,
            apsw.ProtocolError,
            apsw.ReadOnlyError,
            OSError,  # of the files beside the database
        ) as error:
            raise StoreUnavailable(f"The store {self.path} cannot be used now: {error}.") from error
        except apsw.Error as error:
            raise StoreError(f"The store {self.path} refused a statement: {error}.") from error


def _wait_for_lock(tries: int) -> bool:
    """Called by SQLite while another process writes: wait a little and ask again.

    Its own handler sleeps up to 0.1 s at a time, so that who asks at the right moment overtakes the
    others: of six processes that write without a pause one waited 3.4 s for its turn, with this
    one 0.6 s at about the same throughput.
    """
    time.sleep(random.uniform(*_LOCK_PAUSE))
    return tries * sum(_LOCK_PAUSE) / 2 < BUSY_TIMEOUT


@functools.cache
def sql(statement: str) -> str:
    """The text of sql/<statement>.sql."""
    return (resources.files(__package__) / "sql" / f"{statement}.sql").read_text()


def _migrations() -> list[str]:
    files = (resources.files(__package__) / "migrations").iterdir()
    return [file.read_text() for file in sorted(files, key=lambda file: file.name)]
