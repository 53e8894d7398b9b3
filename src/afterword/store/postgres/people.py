"""The connection for people: used from any thread, by one at a time."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from afterword.errors import StoreUnavailable
from afterword.store.postgres.session import LOOKING, WRITING, Session, repeating
from afterword.store.postgres.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")


class PeopleConnection:
    """A second connection, made when it is first needed.

    Args:
        session: used by nothing else.
        writer: the store's own; a thread that is in its transaction is served there.
    """

    def __init__(self, session: Session, writer: Writer) -> None:
        self._session = session
        self._writer = writer
        self._lock = threading.Lock()
        self.open = False

    @property
    def serves_writer(self) -> bool:
        """True inside the store's own transaction, in its thread."""
        return self._writer.session.serves_this_thread

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """Open a transaction that sees the store as it is at one moment."""
        with self._served(LOOKING) as session:
            yield session

    @contextmanager
    def acting(self) -> Iterator[Session]:
        """Open a transaction for changes, or join the store's own one of this thread."""
        if self.serves_writer:
            yield self._writer.session
            return
        with self._served(WRITING) as session:
            yield session

    def claimable(self, session: Session) -> None:
        """Note that jobs became claimable; all processes are notified after the commit."""
        self._writer.claimable(session)

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


class _ServesPeople(Protocol):
    """A part of the store, such as `Queries`."""

    _people: PeopleConnection


S = TypeVar("S", bound=_ServesPeople)


def repeated(verb: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Call a verb for people again if its connection was lost before it wrote anything.

    Not within the store's own transaction: its caller repeats all of it.
    """

    @functools.wraps(verb)
    def again(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if store._people.serves_writer:
            return verb(store, *args, **kwargs)
        return repeating(lambda: verb(store, *args, **kwargs))

    return again
