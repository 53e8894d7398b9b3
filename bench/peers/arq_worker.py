"""arq's worker on uvloop: its command line has no option for that."""

import asyncio
import logging

import uvloop
from arq.worker import run_worker  # type: ignore[import-not-found,unused-ignore]

from bench.peers.arq import WorkerSettings

logging.basicConfig(level=logging.WARNING)
asyncio.set_event_loop(uvloop.new_event_loop())
run_worker(WorkerSettings)
