"""pgqueuer's worker, because `pgq run` of 1.6.0 fails when it sets up its logging."""

import asyncio
import logging
import signal

import uvloop

from bench.peers.pgqueuer import BATCH, application


async def work() -> None:
    """Run jobs until SIGTERM."""
    async with application() as queuer:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queuer.shutdown.set)
        await queuer.run(batch_size=BATCH)


logging.basicConfig(level=logging.WARNING)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(work())
