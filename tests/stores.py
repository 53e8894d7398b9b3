"""The stores that tests run on: SQLite with either driver, and PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from afterword.model.job import new_id
from afterword.store.protocol import Store, open_store
from tests.postgres import Server

KINDS = ("sqlite", "pysqlite", "postgres")
SCHEMES = {"sqlite": "sqlite", "pysqlite": "sqlite+pysqlite"}

MakeStore = Callable[[], Store]


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """The store at this URL, open as long as the block runs."""
    store = open_store(url)
    store.open()
    yield store
    store.close()


def stores_in(folder: Path, kind: str = "sqlite") -> MakeStore:
    """What makes new SQLite stores, each in a file of its own."""
    return lambda: open_store(f"{SCHEMES[kind]}:///{folder / new_id()}.db")


def stores_on(server: Server, url: str) -> MakeStore:
    """What makes PostgreSQL stores, each in the same database, which is emptied for it."""

    def make() -> Store:
        server.renew(url)
        return open_store(url)

    return make
