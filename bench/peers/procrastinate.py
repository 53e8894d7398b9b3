"""Procrastinate, on PostgreSQL.

https://procrastinate.readthedocs.io/en/stable/howto/production/concurrency.html and
.../howto/advanced/batch_defer.html: 50 jobs at a time instead of one, a pool of 4 to 20
connections, LISTEN and NOTIFY; jobs that have ended are kept, as by default. With uvloop.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Numbers, Peer, store_url

CONCURRENCY = 50
app = App(connector=PsycopgConnector(conninfo=store_url(), min_size=4, max_size=20))


async def noop(number: int, text: str) -> None:
    """Note the start."""
    mark(number)


task = app.task(name="noop")(noop)


class Procrastinate:
    """Procrastinate."""

    configuration = f"uvloop; concurrency={CONCURRENCY}, pool of 4 to 20, listen_notify"

    def __init__(self) -> None:
        self._connection: psycopg.Connection | None = None

    async def prepare(self) -> None:
        """Create its schema."""
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield a producer that defers the task, which stores it."""

        async def add_many(numbers: Numbers) -> None:
            await task.batch_defer_async(*({"number": each, "text": TEXT} for each in numbers))

        async with app.open_async():
            yield AsyncProducer(
                lambda number: task.defer_async(number=number, text=TEXT), add_many=add_many
            )

    def worker(self) -> Sequence[str]:
        """Return a command that does the same as `procrastinate worker`, on uvloop."""
        return [sys.executable, "-m", "bench.peers.procrastinate_worker"]

    async def count(self) -> Count:
        """Count jobs by state."""
        if self._connection is None:
            self._connection = psycopg.connect(store_url(), autocommit=True)
        row = self._connection.execute(
            "SELECT count(*) FILTER (WHERE status IN ('todo', 'doing')),"
            " count(*) FILTER (WHERE status = 'succeeded') FROM procrastinate_jobs"
        ).fetchone()
        assert row
        return Count(*row)


peer: Peer = Procrastinate()
