"""Procrastinate's worker on uvloop, for which its command line has no option."""

import asyncio
import logging

import uvloop

from bench.peers.procrastinate import CONCURRENCY, app


async def work() -> None:
    """Run jobs until a signal says stop."""
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


logging.basicConfig(level=logging.WARNING)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(work())
