"""arq, on Redis.

https://arq-docs.helpmanual.io/#arq.worker.Worker: `arq module.WorkerSettings` with 100 jobs at a
time instead of 10, a poll every 20 ms instead of 500, and no results kept; all of these make it
faster here. With hiredis and uvloop. A job is removed from Redis when it has ended.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool  # type: ignore[import-not-found,unused-ignore]
from arq.connections import RedisSettings  # type: ignore[import-not-found,unused-ignore]
from redis.asyncio import Redis  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Peer, store_url

_QUEUE = "arq:queue"  # its default name
_SETTINGS = RedisSettings.from_dsn(store_url())


async def noop(context: dict[str, Any], number: int, text: str) -> None:
    """Note the start."""
    mark(number)


class WorkerSettings:
    """The settings of the worker."""

    functions = (noop,)
    redis_settings = _SETTINGS
    max_jobs = 100
    poll_delay = 0.02
    keep_result = 0
    log_results = False


class Arq:
    """arq."""

    configuration = "uvloop, hiredis; max_jobs=100, poll_delay=0.02, keep_result=0"

    def __init__(self) -> None:
        self._redis = Redis.from_url(store_url())

    async def prepare(self) -> None:
        """Do nothing: Redis needs no preparation."""

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield a producer with one connection pool."""
        pool = await create_pool(_SETTINGS)
        yield AsyncProducer(lambda number: pool.enqueue_job("noop", number, TEXT))
        await pool.aclose()

    def worker(self) -> Sequence[str]:
        """Return a command that does the same as `arq module.WorkerSettings`, on uvloop."""
        return [sys.executable, "-m", "bench.peers.arq_worker"]

    async def count(self) -> Count:
        """Count the queue: jobs stay there until they have ended."""
        return Count(unfinished=await self._redis.zcard(_QUEUE), completed=None)


peer: Peer = Arq()
