"""Afterword, on SQLite or on PostgreSQL, with `async def` or `def` tasks.

docs/workers.md: `afterword worker module:app` with its defaults. Every outcome is recorded.
"""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from afterword import Afterword
from afterword.model.job import JobState
from afterword.store.opening import open_store
from afterword.tasks.registry import task
from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Peer, is_async, queue_count, store_url

app = FastAPI()
afterword = Afterword(app, store_url())


async def async_noop(number: int, text: str) -> None:
    """Note the start, in the event loop."""
    mark(number)


def sync_noop(number: int, text: str) -> None:
    """Note the start, in a thread."""
    mark(number)


def in_queue(number: int) -> Callable[[int, str], object]:
    """Make the task of one of many queues, with its own name."""

    async def noop(number: int, text: str) -> None:
        mark(number)

    noop.__qualname__ = noop.__name__ = f"noop_{number}"
    return task(queue=f"queue-{number}")(noop)


QUEUED = [in_queue(number) for number in range(queue_count())]


class Here:
    """Afterword."""

    configuration = "afterword worker module:app"

    def __init__(self) -> None:
        self._store = open_store(store_url())
        self._opened = False

    async def prepare(self) -> None:
        """Open the store, which creates its tables."""
        self._store.open()
        self._store.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield `add_task` outside of requests, as in a script."""
        funcs = QUEUED if len(QUEUED) > 1 else [async_noop if is_async() else sync_noop]
        yield AsyncProducer(
            lambda number: afterword.add_task(funcs[number % len(funcs)], number, TEXT)
        )
        afterword.close()

    def worker(self) -> Sequence[str]:
        """Return its command."""
        command = [sys.executable, "-m", "afterword", "worker", "bench.peers.afterword:app"]
        queues = [f"queue-{number}" for number in range(len(QUEUED))]
        served = ["--queues", ",".join(queues)] if len(queues) > 1 else []
        return [*command, "--log-level", "warning", *served]

    async def count(self) -> Count:
        """Count unfinished and completed jobs."""
        if not self._opened:
            self._store.open()
            self._opened = True
        found = self._store.count()
        unfinished = found[JobState.QUEUED] + found[JobState.RUNNING]
        return Count(unfinished, found[JobState.COMPLETED])


peer: Peer = Here()
