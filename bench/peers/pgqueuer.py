"""pgqueuer, on PostgreSQL.

https://pgqueuer.readthedocs.io/en/latest/ (command line, performance): the same as `pgq run`, with
batches of 100 jobs instead of 10, asyncpg, uvloop, and tables that are durable, as by default.
Outcomes are kept in its log.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped,unused-ignore]
from pgqueuer import PgQueuer  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.queries import Queries  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Numbers, Peer, store_url

BATCH = 100  # jobs that a worker claims at a time
_PAYLOAD = TEXT.encode()


async def noop(job: Any) -> None:
    """Note the start; a job's arguments are bytes."""
    number, _ = job.payload.split(b" ", 1)
    mark(int(number))


def _payload(number: int) -> bytes:
    return b"%d %s" % (number, _PAYLOAD)


@asynccontextmanager
async def application() -> AsyncIterator[Any]:
    """Yield the queuer that `pgq run` runs."""
    connection = await asyncpg.connect(store_url())
    try:
        queuer = PgQueuer(AsyncpgDriver(connection))
        queuer.entrypoint("noop")(noop)
        yield queuer
    finally:
        await connection.close()


class Pgqueuer:
    """pgqueuer."""

    configuration = f"uvloop, asyncpg; batch_size={BATCH}"

    def __init__(self) -> None:
        self._connection: Any = None

    async def prepare(self) -> None:
        """Create its schema."""
        connection = await asyncpg.connect(store_url())
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield a producer with one connection, as in its documentation; callers take turns."""
        connection = await asyncpg.connect(store_url())
        queries = Queries(AsyncpgDriver(connection))

        async def add_many(numbers: Numbers) -> None:
            payloads = [_payload(number) for number in numbers]
            await queries.enqueue(["noop"] * len(payloads), payloads, [0] * len(payloads))

        yield AsyncProducer(
            lambda number: queries.enqueue("noop", _payload(number)), add_many=add_many
        )
        await connection.close()

    def worker(self) -> Sequence[str]:
        """Return a command that does the same as `pgq run`."""
        return [sys.executable, "-m", "bench.peers.pgqueuer_worker"]

    async def count(self) -> Count:
        """Count the table and the log: jobs that have ended move to the log."""
        if self._connection is None:
            self._connection = await asyncpg.connect(store_url())
        row = await self._connection.fetchrow(
            "SELECT (SELECT count(*) FROM pgqueuer) AS unfinished, (SELECT count(*)"
            " FROM pgqueuer_log WHERE status = 'successful') AS completed"
        )
        assert row
        return Count(row["unfinished"], row["completed"])


peer: Peer = Pgqueuer()
