"""DBOS, on PostgreSQL or on SQLite.

https://docs.dbos.dev/python/reference/queues and .../reference/client: workflows without steps, on
a queue from which each process takes up to 100 at a time and which it polls every 0.1 s instead of
every second; a pool of 20 connections. Every outcome is recorded.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient  # type: ignore[import-not-found,unused-ignore]

from bench.ledger import mark
from bench.peer import TEXT, AsyncProducer, Count, Peer, store_url

_IN_POSTGRES = store_url().startswith("postgresql:")
_URL = store_url().replace("postgresql://", "postgresql+psycopg://")
_ENQUEUE = {"queue_name": "bench", "workflow_name": "noop", "app_version": "1"}


async def noop(number: int, text: str) -> None:
    """Note the start."""
    mark(number)


def _launch() -> None:
    config: dict[str, Any] = {
        "name": "bench",
        "system_database_url": _URL,
        "application_version": "1",
        "executor_id": f"worker-{os.getpid()}",
        "log_level": "WARNING",
        **({"sys_db_pool_size": 20} if _IN_POSTGRES else {}),
    }
    DBOS(config=config)
    DBOS.workflow(name="noop")(noop)
    DBOS.launch()
    DBOS.register_queue("bench", worker_concurrency=100, polling_interval_sec=0.1)


class Dbos:
    """DBOS."""

    configuration = "worker_concurrency=100, polling_interval_sec=0.1" + (
        ", sys_db_pool_size=20" if _IN_POSTGRES else ""
    )

    def __init__(self) -> None:
        self._engine = sqlalchemy.create_engine(_URL)

    async def prepare(self) -> None:
        """Create its schema and the queue."""
        await asyncio.to_thread(_launch)
        await asyncio.to_thread(DBOS.destroy)

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AsyncProducer]:
        """Yield a client, which only stores."""
        client = DBOSClient(system_database_url=_URL)
        yield AsyncProducer(lambda number: client.enqueue_async(dict(_ENQUEUE), number, TEXT))
        await asyncio.to_thread(client.destroy)

    def worker(self) -> Sequence[str]:
        """Return the command of a program that launches DBOS, as its documentation shows."""
        return [sys.executable, "-c", "from bench.peers.dbos import work; work()"]

    async def count(self) -> Count:
        """Count workflows by state."""
        table = "dbos.workflow_status" if _IN_POSTGRES else "workflow_status"
        with self._engine.connect() as connection:
            states = connection.execute(
                sqlalchemy.text(f"SELECT status, count(*) FROM {table} GROUP BY status")
            ).all()
        counts = {str(state): int(number) for state, number in states}
        completed = counts.pop("SUCCESS", 0)
        return Count(unfinished=sum(counts.values()), completed=completed)


def work() -> None:
    """Run workflows until the process is ended."""
    logging.basicConfig(level=logging.WARNING)
    _launch()
    threading.Event().wait()


peer: Peer = Dbos()
