"""Procrastinate's worker on uvloop: its command line has no option for that."""

import asyncio
import logging

import uvloop

from bench.peers.procrastinate import CONCURRENCY, app


async def work() -> None:
    """Run jobs until a signal."""
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


logging.basicConfig(level=logging.WARNING)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(work())
