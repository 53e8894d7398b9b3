"""Old rows of the audit are deleted."""

from collections.abc import Iterator

import apsw
import psycopg
import pytest

from afterword.model.audit import Actor
from afterword.store.opening import open_store
from afterword.store.protocol import Store


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    store.open()
    yield store
    store.close()


def make_old(store_url: str) -> None:
    """Move all actions 366 days into the past."""
    if store_url.startswith("sqlite"):
        connection = apsw.Connection(store_url.partition(":///")[2])
        connection.execute("UPDATE afterword_audit SET at = at - 366 * 24 * 3600")
        connection.close()
    else:
        with psycopg.connect(store_url, autocommit=True) as server:
            server.execute("UPDATE afterword.audit SET at = at - interval '366 days'")


def test_the_audit_is_kept_for_a_year(store: Store, store_url: str) -> None:
    store.resume(["old"], by=Actor(name="ann", place="API"))
    make_old(store_url)
    store.resume(["new"], by=Actor(name="ann", place="API"))
    store.purge(0.0, 10)

    assert ["new"] == [each.target for each in store.audit()]
