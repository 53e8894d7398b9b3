"""The connection that writes, and the wake-ups after its commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from afterword.errors import StoreUnavailable
from afterword.store.parts import Row, Values
from afterword.store.postgres.session import Session


class Writer:
    """The connection of the store's thread; after its commits this process is woken.

    Args:
        session: used by no other thread.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.opened = False
        self.heard: Callable[[], object] | None = None  # called when something is claimable
        self._claimable = False  # and this process was not told yet

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Put one BEGIN ... COMMIT around the verbs called inside."""
        self.require_open()
        outermost = not self.session.serves_this_thread
        with self.session.transaction():
            yield
        if outermost and self._claimable and self.heard is not None:
            self._claimable = False
            self.heard()  # the other processes hear of it from the server

    def require_open(self) -> None:
        """Refuse to work for a closed store.

        Raises:
            StoreUnavailable: the store is not open.
        """
        if not self.opened:
            raise StoreUnavailable(f"The store {self.session.url} is not open.")

    def execute(self, statement: str, values: Values | None = None) -> list[Row]:
        """Execute sql/<statement>.sql inside a transaction and return its rows."""
        return self.session.execute(statement, values)

    def send(self, statement: str, values: Values) -> "psycopg.Cursor[Row]":
        """The same, without waiting for the rows."""
        return self.session.send(statement, values)

    def ask(self, statement: str, values: Values | None = None) -> list[Row]:
        """Execute a statement that is a transaction of its own, see `Session.ask`."""
        self.require_open()
        return self.session.ask(statement, values)

    def claimable(self, session: Session | None = None) -> None:
        """Note that jobs became claimable; all processes are notified after the commit.

        Args:
            session: in whose transaction. Default: the writer's.
        """
        (session or self.session).announcing = True
        self._claimable = True

    def claimable_here(self) -> None:
        """Note that this process should look again, without notifying the others."""
        self._claimable = True

    def take_claimable(self) -> bool:
        """Return True, once, if jobs became claimable and no notification was sent."""
        claimable, self._claimable = self._claimable, False
        return claimable

    def announce(self) -> None:
        """Notify all processes of jobs that were committed on another connection."""
        with self.transaction():
            self.claimable()
