"""The connection at which people are served: from any thread, one after the other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from afterword.errors import StoreUnavailable
from afterword.stores.postgres.session import LOOKING, WRITING, Session


class Desk:
    """Opened by the store, and connected when somebody comes.

    Args:
        session: used by nobody else.
        writer: the store's own; a thread that is in its transaction is served there.
    """

    def __init__(self, session: Session, writer: Session) -> None:
        self._session = session
        self._writer = writer
        self._lock = threading.Lock()
        self.open = False

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """A transaction that sees the store as it is at one moment."""
        with self._served(LOOKING) as session:
            yield session

    @contextmanager
    def acting(self) -> Iterator[Session]:
        """One to change something in; part of the store's own transaction if there is one."""
        if self._writer.serves_this_thread:
            yield self._writer
            return
        with self._served(WRITING) as session:
            yield session

    @contextmanager
    def _served(self, begin: str) -> Iterator[Session]:
        with self._lock:
            if not self.open:
                raise StoreUnavailable(f"The store {self._session.url} is not open.")
            with self._session.transaction(begin):
                yield self._session

    def close(self) -> None:
        """Close the connection; harmless when closed."""
        with self._lock:
            self.open = False
            self._session.close()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._lock = threading.Lock()
        self._session.forget()
        self.open = False
