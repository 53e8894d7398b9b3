"""Huey, on SQLite or on Redis.

https://huey.readthedocs.io/en/latest/consumer.html (options of the consumer) and
https://huey.readthedocs.io/en/latest/api.html#SqliteHuey. `fsync=True` makes a stored job durable,
as Afterword's jobs are; without it SQLite does not wait for the disk. Four threads did best.
Results are off, which the guide recommends if they are not read. The delays are the smallest that
leave an idle consumer idle. A job is removed from the store before it runs, so the jobs that a
killed consumer was running are lost: Huey does less work than systems that run them again.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from huey import RedisHuey, SqliteHuey  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, Count, Peer, SyncProducer, store_url

_FILE = store_url().removeprefix("sqlite:///")
IN_FILE = store_url().startswith("sqlite:")

if IN_FILE:
    huey = SqliteHuey("bench", filename=_FILE, fsync=True, results=False)
else:
    huey = RedisHuey("bench", url=store_url(), results=False)


def noop(number: int, text: str) -> None:
    """Note the start."""
    mark(number)


task = huey.task()(noop)


class Huey:
    """Huey."""

    configuration = (
        f"{'SqliteHuey, fsync=True' if IN_FILE else 'RedisHuey'}, results=False;"
        " huey_consumer -w 4 -k thread -d 0.01 -m 0.05 -q"
    )

    async def prepare(self) -> None:
        """Do nothing: the constructor has created the tables."""

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[SyncProducer]:
        """Yield a producer that calls the task, which stores it."""
        yield SyncProducer(lambda number: task(number, TEXT))

    def worker(self) -> Sequence[str]:
        """Return the command of its consumer."""
        consumer = str(Path(sys.executable).with_name("huey_consumer"))
        options = ["-w", "4", "-k", "thread", "-d", "0.01", "-m", "0.05", "-q", "-g", "TERM"]
        return [consumer, "bench.peers.huey.huey", *options]

    async def count(self) -> Count:
        """Count the pending jobs; running ones are in no table."""
        return Count(unfinished=int(huey.pending_count()), completed=None)


peer: Peer = Huey()
