"""The place of an experiment: an empty folder and an empty store."""

from functools import cached_property
from pathlib import Path

from afterword.store.opening import open_store
from afterword.store.protocol import Store
from tests.crash.fleet import Fleet, sqlite_in
from tests.postgres import Cluster, Server

SQLITE, POSTGRES = "SQLite", "PostgreSQL"


class Lab:
    """A folder and a store.

    Args:
        folder: created if it does not exist.
        server: the PostgreSQL server for the stores; None for SQLite files.
    """

    def __init__(self, folder: Path, server: Server | None = None) -> None:
        self.folder = folder
        self._server = server
        folder.mkdir(exist_ok=True)

    @property
    def kind(self) -> str:
        """ "SQLite" or "PostgreSQL"."""
        return POSTGRES if self._server else SQLITE

    @cached_property
    def url(self) -> str:
        """The URL of a new store."""
        return self._server.new_database() if self._server else sqlite_in(self.folder)

    @property
    def server(self) -> Server:
        """The server of a store in PostgreSQL."""
        if self._server is None:
            raise LookupError("a store in SQLite has no server")
        return self._server

    @property
    def cluster(self) -> Cluster:
        """The server, if it is our own and may be stopped and started."""
        if not isinstance(self._server, Cluster):
            raise LookupError("this needs a PostgreSQL server of our own")
        return self._server

    def store(self) -> Store:
        """Return the store, not yet opened."""
        return open_store(self.url)

    def room(self, name: str) -> "Lab":
        """Return a lab within this one, with its own store."""
        return Lab(self.folder / name, self._server)

    def fleet(self, size: int = 1, *, url: str | None = None, **environment: object) -> Fleet:
        """Return servers on this store; they reach it through another URL if one is given."""
        return Fleet(self.folder, size, url=url or self.url, **environment)
