"""What the parts of the store that write have in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from afterword.model.clock import Clock
from afterword.store.bells import Bells
from afterword.store.sqlite.database import Database


class Writing:
    """The part of the SQLite store that has the connection which writes."""

    _clock: Clock
    _database: Database
    _bells: Bells
    _heard: Callable[[], object] | None  # told that something may be claimable
    _untold = False  # something became claimable while nobody was there to be told
    _written = False  # what is written in this transaction makes something claimable

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One BEGIN IMMEDIATE ... COMMIT around the verbs called inside."""
        with self._database.transaction() as outermost:
            try:
                yield
            finally:
                ready = outermost and self._written
                self._written = self._written and not outermost
        if ready:
            self._announce()

    @property
    def _ready(self) -> bool:
        """Whether what is written now makes something claimable; all are told after the commit."""
        return self._written

    @_ready.setter
    def _ready(self, ready: bool) -> None:
        self._written = ready
        if ready and not self._database.in_transaction:
            self._written = False
            self._announce()

    def _announce(self) -> None:
        """Jobs have been committed: wake who waits for some, here and in other processes."""
        self._bells.ring()
        if self._heard is None:
            self._untold = True
        else:
            self._heard()
