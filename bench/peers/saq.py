"""SAQ, on Redis or on PostgreSQL.

https://saq-py.readthedocs.io/en/latest/getting_started.html: `saq module.settings` with 100 jobs
at a time instead of 10, JSON by orjson, and no results kept (`ttl=-1`); with hiredis and uvloop. A
job is removed, or marked, when it has ended.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson  # type: ignore[import-not-found,unused-ignore]
from saq import Queue  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Peer, store_url

_IN_POSTGRES = store_url().startswith("postgresql:")


def _dump(job: dict[str, Any]) -> Any:
    dumped = orjson.dumps(job)
    return dumped.decode() if _IN_POSTGRES else dumped


def _queue() -> Any:
    return Queue.from_url(store_url(), dump=_dump, load=orjson.loads)


async def noop(context: dict[str, Any], *, number: int, text: str) -> None:
    """Note the start."""
    mark(number)


settings = {"queue": _queue(), "functions": [noop], "concurrency": 100}


class Saq:
    """SAQ."""

    configuration = "uvloop, orjson; concurrency=100, ttl=-1"

    def __init__(self) -> None:
        self._connected: Any = None

    async def prepare(self) -> None:
        """Connect, which creates the tables."""
        queue = _queue()
        await queue.connect()
        await queue.disconnect()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield a producer with its queue and connection pool."""
        queue = _queue()
        await queue.connect()
        yield AsyncProducer(
            lambda number: queue.enqueue("noop", number=number, text=TEXT, ttl=-1, timeout=60)
        )
        await queue.disconnect()

    def worker(self) -> Sequence[str]:
        """Return a command that does the same as `saq module.settings`, on uvloop."""
        return [sys.executable, "-m", "bench.peers.saq_worker"]

    async def count(self) -> Count:
        """Count queued and active jobs."""
        if self._connected is None:
            self._connected = _queue()
            await self._connected.connect()
        kinds = ["queued", "active"] if _IN_POSTGRES else ["incomplete"]
        counts = [await self._connected.count(kind) for kind in kinds]
        return Count(unfinished=sum(counts), completed=None)


peer: Peer = Saq()
