"""Dramatiq, on Redis.

https://dramatiq.io/guide.html and https://dramatiq.io/reference.html#module-dramatiq: its command
with one process and its eight threads; the default middleware. A message stays in Redis until its
actor has returned.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import dramatiq  # type: ignore[import-not-found,unused-ignore]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, Count, Peer, SyncProducer, store_url

broker = RedisBroker(url=store_url())  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)


def noop(number: int, text: str) -> None:
    """Note the start."""
    mark(number)


actor = dramatiq.actor(noop)


class Dramatiq:
    """Dramatiq."""

    configuration = "dramatiq --processes 1 --threads 8"

    async def prepare(self) -> None:
        """Do nothing: Redis needs no preparation."""

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[SyncProducer]:
        """Yield a producer that sends messages."""
        yield SyncProducer(lambda number: actor.send(number, TEXT))

    def worker(self) -> Sequence[str]:
        """Return its command; a child process of it does the work."""
        command = str(Path(sys.executable).with_name("dramatiq"))
        return [command, "--processes", "1", "--threads", "8", "bench.peers.dramatiq"]

    async def count(self) -> Count:
        """Count the messages that have not been acknowledged."""
        return Count(unfinished=broker.client.hlen("dramatiq:default.msgs"), completed=None)


peer: Peer = Dramatiq()
