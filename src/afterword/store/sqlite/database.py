"""The file: opened, migrated, written by one connection and read by another."""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from afterword import telemetry
from afterword.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from afterword.store.migrations import Migration, load, missing
from afterword.store.rows import Row, Values
from afterword.store.sqlite import drivers
from afterword.store.sqlite.drivers import Connection, Driver, as_ours, has_wal_reset_race
from afterword.store.sqlite.path import check_path

_APPLICATION_ID = 0x41465457  # "AFTW", in the header of a file of our own (PRAGMA application_id)
_WAL_LIMIT = 64 * 1024 * 1024  # bytes a WAL file keeps after a checkpoint
_WARN_EVERY = 60.0  # seconds
_OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, RETURNING, JSON functions
_of_parents: list[object] = []  # kept for ever, see `Database.forget`


class Database:
    """One process's use of a store's file. Statements are called by their file's name in sql/.

    The writing connection belongs to one thread at a time: for as long as its transaction lasts.
    """

    def __init__(self, path: Path, driver: Driver) -> None:
        self.path = path
        self._driver = driver
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._writing = threading.RLock()
        self._reading = threading.Lock()
        self._in_transaction = False
        self._owner = 0  # the thread whose transaction it is
        self._file: tuple[int, int] | None = None  # which one it was when it was opened
        self._warned_at = float("-inf")  # monotonic

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool) -> str:
        """Take the file into use; with `create`, make it and migrate it if need be.

        Returns:
            The store's identity.

        Raises:
            ConfigurationError: it cannot be a store.
            StoreCorrupt: it is something else, or damaged.
            SchemaTooNew: a newer release has written it.
            StoreUnavailable: not now, or not without `create`.
        """
        if self._writer is not None:
            return self._identity()
        if not create:
            self._require_file()
        check_path(self.path)
        self._require_library()
        try:
            with self.errors():
                self._take_into_use(create)
            return self._identity()
        except BaseException:
            self.close()  # a refused file must not look open to the next call
            raise

    def _identity(self) -> str:
        rows = self.read("identity", {})
        if len(rows) != 1:
            raise StoreCorrupt(
                f"The table afterword_store of {self.path} must have one row, not {len(rows)}."
                " Restore the file from a backup."
            )
        return str(rows[0][0])

    def _require_file(self) -> None:
        if not os.path.exists(self.path):  # noqa: PTH110 - pathlib raises where it may not look
            raise StoreUnavailable(
                f"There is no store at {self.path}, and none is made here. Give the URL of the"
                " file that the application uses, or create it: afterword db migrate"
            )

    def _require_library(self) -> None:
        if self._driver.version < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"The store needs SQLite {_dotted(_OLDEST_SQLITE)} or newer, but this Python's"
                f" sqlite3 has {_dotted(self._driver.version)}. Use a newer Python, or give the"
                " store a file of its own, which brings its own SQLite: sqlite:///jobs.db"
            )

    def _take_into_use(self, create: bool) -> None:
        if create:
            self._create_file()
        self._writer = self._connect(create)
        self._migrate(create)
        self._reader = self._connect(create)
        self._reader.execute("PRAGMA query_only = ON")
        self._file = _which(self.path)

    def _create_file(self) -> None:
        # Only a new file: to close a descriptor of one that is in use drops this process's locks.
        with contextlib.suppress(FileExistsError):
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            os.close(os.open(self.path, flags, 0o600))

    def close(self) -> None:
        """Close both connections; harmless when closed."""
        with self._writing, self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = self._file = None

    def forget(self) -> None:
        """In a forked child: SQLite forbids to use its connections there, even to close them."""
        _of_parents.extend((self._reader, self._writer))
        self._reader = self._writer = self._file = None
        self._writing, self._reading = threading.RLock(), threading.Lock()
        self._in_transaction = False

    def _connect(self, create: bool) -> Connection:
        """A connection; waits for processes that open or close the same file at this moment.

        SQLite itself does not: it calls no busy handler when it changes the journal mode.
        """
        deadline = time.monotonic() + drivers.BUSY_TIMEOUT
        while True:
            connection = self._driver.connect(self.path)
            try:
                self._set_up(connection, create)
            except BaseException as error:
                connection.close()
                if not self._is_busy(error):
                    raise
                if time.monotonic() > deadline:
                    self._refuse_busy()
                    raise
                time.sleep(0.01)
            else:
                return connection

    def _is_busy(self, error: BaseException) -> bool:
        return isinstance(error, self._driver.error) and self._driver.code(error) == drivers.BUSY

    def _refuse_busy(self) -> None:
        """Say what keeps the file busy, if it is the journal that must be changed."""
        if has_wal_reset_race(self._driver.version):
            raise ConfigurationError(
                f"SQLite {_dotted(self._driver.version)}, which this Python's sqlite3 has, can"
                f" corrupt a file in WAL mode, and {self.path} is in WAL mode or busy all the time."
                " Stop every program that has it open and run: PRAGMA journal_mode = DELETE;"
                " or use a Python with SQLite 3.51.3 or newer."
            )

    def _set_up(self, connection: Connection, create: bool) -> None:
        # Both before anything is written, the journal mode included.
        self._require_ours(connection)
        if not create:
            self._require_migrated(connection)
        self._set_journal(connection)

    def _require_ours(self, connection: Connection) -> None:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        names = {row[0] for row in tables.fetchall()}
        others = [each for each in names if not each.startswith(("afterword_", "sqlite_"))]
        ours = self._pragma(connection, "application_id") == _APPLICATION_ID
        if not self._driver.shares and (others or (names and not ours)):
            raise StoreCorrupt(
                f"The store must be a file of its own, but {self.path} holds other tables, or is"
                " shared with an application. Give Afterword another file name, such as"
                f" sqlite:///jobs.db. If it is to add jobs in your own transactions:"
                f" sqlite+pysqlite:///{self.path}"
            )

    def _require_migrated(self, connection: Connection) -> None:
        if left := self._missing(connection):
            raise StoreUnavailable(
                f"The store {self.path} lacks the migrations {[each.version for each in left]},"
                " and none are made here. Check the path, or run: afterword db migrate"
            )

    def _set_journal(self, connection: Connection) -> None:
        if has_wal_reset_race(self._driver.version):
            telemetry.old_sqlite(_dotted(self._driver.version), str(self.path))
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            # FULL would not do: a journal whose deletion is lost undoes the commit.
            connection.execute("PRAGMA synchronous = EXTRA")
        else:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}").fetchall()

    def _migrate(self, create: bool) -> None:
        """Bring the file to this release's schema; processes that start together take turns."""
        if not create:
            return
        with self.transaction():
            for migration in self._missing(self.connection):
                self._driver.execute_script(self.connection, migration.sql)
                self.write("migrated", {"version": migration.version, "oldest": migration.oldest})
            if not self._driver.shares:
                self.connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")

    def _missing(self, connection: Connection) -> Sequence[Migration]:
        known = "SELECT 1 FROM sqlite_schema WHERE name = 'afterword_migrations'"
        applied = "SELECT version, oldest FROM afterword_migrations"
        begun = connection.execute(known).fetchall()
        rows = connection.execute(applied).fetchall() if begun else []
        return missing(load(__package__), rows, str(self.path))

    def _pragma(self, connection: Connection, name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    @property
    def connection(self) -> Connection:
        """The one that writes.

        Raises:
            StoreUnavailable: the database is not open.
        """
        if self._writer is None:
            raise StoreUnavailable(f"The store {self.path} is not open.")
        return self._writer

    # ------------------------------------------------------------------ statements

    @contextmanager
    def transaction(self) -> Iterator[bool]:
        """One BEGIN IMMEDIATE ... COMMIT around everything that is written inside.

        Yields whether this is the outermost of several, at whose end it is committed.
        """
        with self._writing:
            if self._in_transaction:
                yield False
                return
            self.require_same_file()
            with self.errors():
                self.connection.execute("BEGIN IMMEDIATE")
                self._in_transaction, self._owner = True, threading.get_ident()
                try:
                    yield True
                    self.commit()
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
                finally:
                    self._in_transaction = False

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo what is written inside, and nothing else, if that fails."""
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
        """Whether some thread is inside a transaction."""
        return self._in_transaction

    @property
    def serves_this_thread(self) -> bool:
        """True inside a transaction of the calling thread."""
        return self._in_transaction and self._owner == threading.get_ident()

    def commit(self) -> None:
        """Make the transaction durable."""
        self.connection.execute("COMMIT")

    def write(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement on the writing connection; the rows it returns."""
        with self._writing:
            return self.connection.execute(sql(statement), values).fetchall()

    def write_many(self, statement: str, values: Iterable[Values]) -> list[Row]:
        """Execute a statement once for each; all the rows they return."""
        with self._writing:
            return self._driver.execute_many(self.connection, sql(statement), values)

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement on the reading connection, from any thread."""
        return self.read_text(sql(statement), values)

    def read_text(self, text: str, values: Values) -> list[Row]:
        """The same for a statement that was put together."""
        with self._reading, self.errors():
            if self._reader is None:
                raise StoreUnavailable(f"The store {self.path} is not open.")
            return self._reader.execute(text, values).fetchall()

    def look(self, statement: str, values: Values) -> list[Row]:
        """`read` for the store's thread, which does not wait for what people read."""
        with self.errors():
            return self.write(statement, values)

    def version_of_others(self) -> int:
        """A number that changes with each commit of another connection."""
        with self._writing, self.errors():
            # The pragma, not apsw's `data_version()`: that one also counts our own commits.
            return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    # ------------------------------------------------------------------ what can go wrong

    def require_same_file(self) -> None:
        """Refuse to go on with a file that is not at its path any more.

        Raises:
            StoreUnavailable: it was deleted, moved or replaced.
        """
        if self._file is not None and _which(self.path) != self._file:
            raise StoreUnavailable(
                f"The store {self.path} was deleted, moved or replaced while it was in use, so"
                " nothing more is written to it. Put the same file back, or stop every process"
                " that uses it, restore a backup if there is one, and start again."
            )

    def warn_of_growth(self) -> None:
        """Say so, once a minute at most, if the WAL grows because somebody keeps an old state."""
        try:
            size = os.stat(f"{self.path}-wal").st_size  # noqa: PTH116 - called each second
        except OSError:
            return
        if size > _WAL_LIMIT and time.monotonic() >= self._warned_at + _WARN_EVERY:
            self._warned_at = time.monotonic()
            telemetry.wal_grows(str(self.path), size)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The driver's errors, and those of the files beside the database, become ours."""
        try:
            yield
        except (self._driver.error, OSError, UnicodeDecodeError) as error:
            raise as_ours(error, self._driver, self.path) from error


def script(driver: Driver) -> str:
    """All migrations as SQL, for those who run them by hand."""
    steps = [text for each in load(__package__) for text in (each.sql, _noted(each))]
    mark = [] if driver.shares else [f"PRAGMA application_id = {_APPLICATION_ID};"]
    return "\n".join(["BEGIN IMMEDIATE;", *steps, *mark, "COMMIT;", ""])


def _noted(migration: Migration) -> str:
    text = sql("migrated").strip().replace(":version", str(migration.version))
    return text.replace(":oldest", str(migration.oldest)) + ";"


@functools.cache
def sql(statement: str) -> str:
    """The text of sql/<statement>.sql."""
    return (resources.files(__package__) / "sql" / f"{statement}.sql").read_text()


def _which(path: Path) -> tuple[int, int] | None:
    """What tells a file from every other one; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for each transaction
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
