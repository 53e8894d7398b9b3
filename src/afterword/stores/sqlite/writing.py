"""What the parts of the store that write have in common."""

from contextlib import AbstractContextManager

from afterword.clock import Clock
from afterword.stores.sqlite.database import Database


class Writing:
    """The part of the SQLite store that has the connection which writes."""

    _clock: Clock
    _database: Database
    _ready: bool  # our own writes made something claimable

    def transaction(self) -> AbstractContextManager[None]:
        """One BEGIN IMMEDIATE ... COMMIT around the verbs called inside."""
        return self._database.transaction()
