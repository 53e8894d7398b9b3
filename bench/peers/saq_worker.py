"""SAQ's worker on uvloop: its command line has no option for that."""

import asyncio

import uvloop
from saq.runner import run  # type: ignore[import-not-found,unused-ignore]

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
run("bench.peers.saq.settings", verbose=0)
