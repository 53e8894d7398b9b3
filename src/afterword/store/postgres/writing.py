"""What the parts of the store that write have in common."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from afterword.errors import StoreUnavailable
from afterword.model.clock import Clock
from afterword.store.postgres.session import Session
from afterword.store.rows import Row, Values


class Writing:
    """The part of the PostgreSQL store that has the connection which writes."""

    url: str
    _clock: Clock
    _writer: Session
    _opened: bool
    _ready: bool  # our own writes made something claimable
    _heard: Callable[[], object] | None  # told that something may be claimable

    def transaction(self) -> AbstractContextManager[None]:
        """One BEGIN ... COMMIT around the verbs called inside."""
        return self._writing()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._require_open()
        outermost = not self._writer.serves_this_thread
        with self._writer.transaction():
            yield
        if outermost:
            self._on_committed()

    def _on_committed(self) -> None:
        """Wake this process's worker; the others hear of it from the server."""
        if self._ready and self._heard is not None:
            self._ready = False
            self._heard()

    def _require_open(self) -> None:
        if not self._opened:
            raise StoreUnavailable(f"The store {self.url} is not open.")

    def _write(self, statement: str, values: Values | None = None) -> list[Row]:
        return self._writer.execute(statement, values)

    def _announce(self) -> None:
        """Something became claimable: here, and for the others once it is committed."""
        self._ready = self._writer.announcing = True
