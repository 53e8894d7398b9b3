"""Connections of the standard library's sqlite3."""

import functools
import sqlite3
from typing import Literal

from afterword.store.protocol import Statement
from afterword.transactions.connections import Row

_LEGACY = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL, since Python 3.12; before, there is no other


class SQLite3Connection:
    """One connection. Outside of a transaction in autocommit mode, each statement is its own."""

    awaited: Literal[False] = False
    session = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def source(self) -> sqlite3.Connection:
        """The connection."""
        return self._connection

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        try:
            return self._connection.in_transaction
        except sqlite3.ProgrammingError:  # closed
            return False

    @property
    def key(self) -> str | None:
        """The file, if it is one."""
        return self._file or None

    @property
    def name(self) -> str:
        """The file's URL."""
        return f"sqlite:///{self._file}"

    @property
    def _file(self) -> str:
        files = {row[1]: row[2] for row in self._rows("PRAGMA database_list")}
        return str(files.get("main", ""))

    def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement, a writing one in the transaction that Python begins for those."""
        # Not for a reading one: another process's commit between that and our writing would make
        # SQLite refuse the transaction at once. And not left to Python, which overlooks WITH.
        begins = self._begins_by_itself and not self._connection.in_transaction
        if begins and not _only_reads(statement.sql):
            self._connection.execute(f"BEGIN {self._connection.isolation_level}")
        return self._rows(statement.sql, dict(statement.values))

    def _rows(self, sql: str, values: dict[str, object] | None = None) -> list[Row]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, values or {}).fetchall()

    @property
    def _begins_by_itself(self) -> bool:
        legacy = getattr(self._connection, "autocommit", _LEGACY) == _LEGACY
        return legacy and self._connection.isolation_level is not None

    def begin(self) -> None:
        """BEGIN, where Python does not do it by itself.

        IMMEDIATE: it will write, and a transaction that has read before may not be allowed to.
        """
        if not self._begins_by_itself and not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """COMMIT, in any mode of the connection."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """ROLLBACK, in any mode of the connection."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


@functools.cache
def _only_reads(sql: str) -> bool:
    lines = (line for line in sql.splitlines() if line and not line.startswith("--"))
    return next(lines, "").lstrip().upper().startswith("SELECT")
