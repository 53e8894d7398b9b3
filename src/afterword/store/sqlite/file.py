"""The file of a store: made, checked, migrated and opened."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from afterword import telemetry
from afterword.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from afterword.store.migrations import Migration, load, missing
from afterword.store.sqlite import drivers
from afterword.store.sqlite.drivers import Connection, Driver, has_wal_reset_race
from afterword.store.sqlite.path import check_path
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.writer import WAL_LIMIT, Writer, sql

_APPLICATION_ID = 0x41465457  # "AFTW", in the header of a file of our own (PRAGMA application_id)
_OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, RETURNING, JSON functions


class StoreFile:
    """Makes, checks, migrates and opens the file of a store.

    Args:
        writer: given its connection by `open`, as is the reader.
    """

    def __init__(self, path: Path, driver: Driver, writer: Writer, reader: Reader) -> None:
        self.path = path
        self._driver = driver
        self._writer = writer
        self._reader = reader

    def open(self, create: bool) -> str:
        """Open the file; with `create`, create or migrate it if necessary.

        Returns:
            The store's identity.

        Raises:
            ConfigurationError: it cannot be a store.
            StoreCorrupt: it is something else, or damaged.
            SchemaTooNew: a newer release has written it.
            StoreUnavailable: not now, or not without `create`.
        """
        if self._writer.is_open:
            return self._identity()
        if not create:
            self._require_file()
        check_path(self.path)
        self._require_library()
        try:
            with self._writer.errors():
                self._take_into_use(create)
            return self._identity()
        except BaseException:
            self.close()  # a refused file must not look open to the next call
            raise

    def _identity(self) -> str:
        rows = self._reader.read("identity", {})
        if len(rows) != 1:
            raise StoreCorrupt(
                f"The table afterword_store of {self.path} must have one row, not {len(rows)}."
                " Restore the file from a backup."
            )
        return str(rows[0][0])

    def _require_file(self) -> None:
        if not os.path.exists(self.path):  # noqa: PTH110 - pathlib raises where it may not look
            raise StoreUnavailable(
                f"There is no store at {self.path}, and none is created here. Give the URL of the"
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
        self._writer.use(self._connect(create))
        self._migrate(create)
        self._reader.use(self._connect(create))
        self._writer.pin_file()

    def _create_file(self) -> None:
        # Only a new file: to close a descriptor of one that is in use drops this process's locks.
        with contextlib.suppress(FileExistsError):
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            os.close(os.open(self.path, flags, 0o600))

    def close(self) -> None:
        """Close both connections; harmless when closed."""
        self._reader.close()
        self._writer.close()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._reader.forget()
        self._writer.forget()

    def _connect(self, create: bool) -> Connection:
        """Connect; wait for processes that open or close the same file at this moment.

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
        """Explain why the file stays busy, if its journal must be changed."""
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
        self._set_journal(connection, tell=create)

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
                " and none are created here. Check the path, or run: afterword db migrate"
            )

    def _set_journal(self, connection: Connection, tell: bool) -> None:
        if has_wal_reset_race(self._driver.version):
            if tell:
                telemetry.old_sqlite(_dotted(self._driver.version), str(self.path))
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            # FULL would not do: a journal whose deletion is lost undoes the commit.
            connection.execute("PRAGMA synchronous = EXTRA")
        else:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}").fetchall()

    def _migrate(self, create: bool) -> None:
        """Bring the file to this release's schema; processes that start together take turns."""
        if not create:
            return
        with self._writer.transaction():
            for migration in self._missing(self._writer.connection):
                self._driver.execute_script(self._writer.connection, migration.sql)
                noted = {"version": migration.version, "oldest": migration.oldest}
                self._writer.write("migrated", noted)
            if not self._driver.shares:
                self._writer.connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")

    def _missing(self, connection: Connection) -> Sequence[Migration]:
        known = "SELECT 1 FROM sqlite_schema WHERE name = 'afterword_migrations'"
        applied = "SELECT version, oldest FROM afterword_migrations"
        begun = connection.execute(known).fetchall()
        rows = connection.execute(applied).fetchall() if begun else []
        return missing(load(__package__), rows, str(self.path))

    def _pragma(self, connection: Connection, name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def script(driver: Driver) -> str:
    """Return all migrations as SQL, to be run by hand."""
    steps = [text for each in load(__package__) for text in (each.sql, _noted(each))]
    mark = [] if driver.shares else [f"PRAGMA application_id = {_APPLICATION_ID};"]
    return "\n".join(["BEGIN IMMEDIATE;", *steps, *mark, "COMMIT;", ""])


def _noted(migration: Migration) -> str:
    text = sql("migrated").strip().replace(":version", str(migration.version))
    return text.replace(":oldest", str(migration.oldest)) + ";"


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
