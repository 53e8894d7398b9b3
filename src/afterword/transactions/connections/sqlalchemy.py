"""Connections and sessions of SQLAlchemy, those of SQLModel included."""

import functools
from typing import Literal

from sqlalchemy import Connection, Engine, RootTransaction, TextClause, text
from sqlalchemy.orm import Session

from afterword.errors import ConfigurationError
from afterword.store.protocol import Statement
from afterword.transactions.connections import Row

_JOINED = (
    "complete_in(...) commits, but this session takes part in a transaction that was begun on its"
    " connection outside of the session, and that does not end with the session's commit. Give the"
    " session its engine:\n"
    "    with engine.begin() as connection, Session(connection) as session:  # incorrect!\n"
    "    with Session(engine) as session:  # correct!"
)


class SQLAlchemyConnection:
    """A Session or a Connection; in its transaction, which begins by itself."""

    awaited: Literal[False] = False

    def __init__(self, source: Session | Connection) -> None:
        self._source = source
        self.session = source if isinstance(source, Session) else None

    @property
    def source(self) -> Session | Connection:
        """The session or the connection."""
        return self._source

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        return self._source.in_transaction()

    @property
    def key(self) -> Engine:
        """The engine."""
        return engine_of(self._source)

    @property
    def name(self) -> str:
        """The engine's URL."""
        return name_of(self.key)

    @property
    def _connection(self) -> Connection:
        return self._source.connection() if isinstance(self._source, Session) else self._source

    def execute(self, statement: Statement) -> list[Row]:
        """Execute a statement; nothing is flushed for it."""
        result = self._connection.execute(_text(statement.sql), dict(statement.values))
        return [tuple(row) for row in result] if result.returns_rows else []

    def begin(self) -> None:
        """Check that the transaction, which begins by itself, is one that the commit ends.

        Raises:
            ConfigurationError: the connection is in autocommit mode, or the session has joined a
                transaction that its commit would not end.
        """
        if self._would_join:
            raise ConfigurationError(_JOINED)
        # `get_isolation_level` returns the database's own level, which is never this one.
        if self._connection._is_autocommit_isolation():
            raise ConfigurationError(
                "complete_in(...) needs a transaction, but this connection has the isolation level"
                " AUTOCOMMIT. Use an engine with another one."
            )

    @property
    def _would_join(self) -> bool:
        """True if the session has not begun, and would begin inside another transaction."""
        session = self.session
        if session is None or session.in_transaction():
            return False
        bind = session.get_bind()
        within = isinstance(bind, Connection) and bind.in_transaction()
        return within and session.join_transaction_mode != "control_fully"

    def commit(self) -> None:
        """Flush and commit.

        Raises:
            ConfigurationError: the session had joined another transaction, which goes on.
        """
        root = self.root
        self._source.commit()
        require_ended(root)

    @property
    def root(self) -> RootTransaction | None:
        """The transaction of the database, which has to end with the commit."""
        return self._connection.get_transaction()

    def rollback(self) -> None:
        """Roll back."""
        self._source.rollback()


def require_ended(root: RootTransaction | None) -> None:
    """Refuse a commit that did not end the transaction."""
    if root is not None and root.is_active:
        raise ConfigurationError(_JOINED)


def engine_of(source: Session | Connection) -> Engine:
    """The engine."""
    return (source.get_bind() if isinstance(source, Session) else source).engine


def name_of(engine: Engine) -> str:
    """The engine's URL, without its password."""
    return engine.url.render_as_string(hide_password=True)


@functools.cache
def _text(sql: str) -> TextClause:
    return text(sql)
