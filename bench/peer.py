"""What a system must be able to do to be measured: a small protocol, and one file for each system.

These files run in the environment of their system, which has nothing else installed, so what they
share imports the standard library only. What a system is called and what its environment holds
stands in bench/catalogue.py.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

STORE = "BENCH_STORE"  # the URL of an empty store
FUNCTION = "BENCH_FUNCTION"  # "async def" or "def"
QUEUES = "BENCH_QUEUES"  # over how many queues the jobs are spread, where that is measured
TEXT = "Hello from the background"  # each job has a number and this

Numbers = Sequence[int]


@dataclass(frozen=True, slots=True)
class AsyncProducer:
    """Stores jobs in the way this system has for asyncio.

    Args:
        add: stores one job; it is durable when this has been awaited.
        add_many: stores many in one call; None where the system has no such call.
    """

    add: Callable[[int], Awaitable[object]]
    add_many: Callable[[Numbers], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class SyncProducer:
    """The same for a system whose calls block."""

    add: Callable[[int], object]
    add_many: Callable[[Numbers], object] | None = None


Producer = AsyncProducer | SyncProducer


@dataclass(frozen=True, slots=True)
class Count:
    """What a system's own store says.

    Args:
        unfinished: jobs that wait or run.
        completed: outcomes on record; None where the system keeps none.
    """

    unfinished: int
    completed: int | None


class Peer(Protocol):
    """One system; `bench.peers.huey` has one."""

    @property
    def configuration(self) -> str:
        """How it is set up, in a line for the table."""

    async def prepare(self) -> None:
        """Make what an empty store needs, such as tables."""

    def producer(self) -> AbstractAsyncContextManager[Producer]:
        """Connect, to store jobs."""

    def worker(self) -> Sequence[str]:
        """The command that runs one worker process."""

    async def count(self) -> Count:
        """Ask the store; not timed."""


def store_url() -> str:
    """The store that this process is to use."""
    return os.environ[STORE]


def is_async() -> bool:
    """Whether the jobs are to be `async def` functions, for a system that runs both kinds."""
    return os.environ[FUNCTION] == "async def"


def queue_count() -> int:
    """Over how many queues the jobs are to be spread."""
    return int(os.environ.get(QUEUES, "1"))
