"""The connection that only reads, for any thread: people's queries keep no writer waiting."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from afterword.errors import StoreUnavailable
from afterword.model.job import new_fence
from afterword.store.parts import Row, Values
from afterword.store.sqlite.drivers import Connection, Driver, as_ours
from afterword.store.sqlite.writer import sql

_of_parents: list[object] = []  # kept for ever, see `Writer.forget`


class Reader:
    """The connection that only reads.

    Args:
        require_same_file: raises if the file is no longer at its path: otherwise its old state
            would be read for ever.
    """

    def __init__(self, path: Path, driver: Driver, require_same_file: Callable[[], object]) -> None:
        self._path = path
        self._driver = driver
        self._require_same_file = require_same_file
        self.shares = driver.shares  # the file with an application
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self.number = 0  # of the connection, drawn by lot

    def use(self, connection: Connection) -> None:
        """Read by this connection from now on."""
        connection.execute("PRAGMA query_only = ON")
        self.number = new_fence()
        self._connection = connection

    def close(self) -> None:
        """Close the connection; harmless when closed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """In a forked child: be closed, as `Writer.forget`."""
        _of_parents.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute sql/<statement>.sql and return its rows."""
        return self.read_text(sql(statement), values)

    def read_text(self, text: str, values: Values) -> list[Row]:
        """Execute a statement that was put together and return its rows.

        Raises:
            StoreUnavailable: the store is not open.
        """
        with self._lock, self.errors():
            if self._connection is None:
                raise StoreUnavailable(f"The store {self._path} is not open.")
            self._require_same_file()
            return self._connection.execute(text, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[Callable[[str, Values], list[Row]]]:
        """Yield what reads rows, all of them as they are at one moment."""
        with self._lock, self.errors():
            if self._connection is None:
                raise StoreUnavailable(f"The store {self._path} is not open.")
            self._require_same_file()
            connection = self._connection
            connection.execute("BEGIN")
            try:
                yield lambda text, values: connection.execute(text, values).fetchall()
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors, and those of the files beside the database, into ours."""
        try:
            yield
        except (self._driver.error, OSError, UnicodeDecodeError) as error:
            raise as_ours(error, self._driver, self._path) from error
