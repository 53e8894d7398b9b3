"""The protocol of a measured system; each system has one file in bench/peers.

These files run in their system's environment, which has nothing else installed, so the modules that
they share import the standard library only. Names and requirements are in bench/catalogue.py.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

STORE = "BENCH_STORE"  # the URL of an empty store
FUNCTION = "BENCH_FUNCTION"  # "async def" or "def"
QUEUES = "BENCH_QUEUES"  # number of queues to spread the jobs over, if that is measured
TEXT = "Hello from the background"  # the arguments of each job are a number and this

Numbers = Sequence[int]


@dataclass(frozen=True, slots=True)
class AsyncProducer:
    """Functions that store jobs by the system's asyncio interface.

    Args:
        add: stores one job; the job is durable once this has been awaited.
        add_many: stores many jobs in one call; None if the system has no such call.
    """

    add: Callable[[int], Awaitable[object]]
    add_many: Callable[[Numbers], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class SyncProducer:
    """Functions that store jobs, for a system whose calls block."""

    add: Callable[[int], object]
    add_many: Callable[[Numbers], object] | None = None


Producer = AsyncProducer | SyncProducer


@dataclass(frozen=True, slots=True)
class Count:
    """The jobs in a system's own store.

    Args:
        unfinished: jobs that wait or run.
        completed: jobs on record as completed; None if the system keeps no outcomes.
    """

    unfinished: int
    completed: int | None


class Peer(Protocol):
    """One system; an example is `bench.peers.huey`."""

    @property
    def configuration(self) -> str:
        """The set-up, in a line for the table."""

    async def prepare(self) -> None:
        """Prepare an empty store, for example create tables."""

    def producer(self) -> AbstractAsyncContextManager[Producer]:
        """Connect in order to store jobs."""

    def worker(self) -> Sequence[str]:
        """Return the command that runs one worker process."""

    async def count(self) -> Count:
        """Count the jobs in the store; not timed."""


def store_url() -> str:
    """Return the URL of the store for this process."""
    return os.environ[STORE]


def is_async() -> bool:
    """True if the jobs shall be `async def` functions, for a system that runs both kinds."""
    return os.environ[FUNCTION] == "async def"


def queue_count() -> int:
    """Return the number of queues to spread the jobs over."""
    return int(os.environ.get(QUEUES, "1"))
