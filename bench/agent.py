"""The benchmark's agent in the environment of a system: it answers questions and runs workers.

`python -m bench.agent MODULE VERB [NUMBER...]` prints JSON as its last line. The store, the
ledger and the kind of function are in environment variables (bench/trial.py).
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import enqueuing
from bench.ledger import FOLDER, Ledger
from bench.peer import Peer

GAP = 0.005  # seconds between two jobs whose latency is measured
LOOK_EVERY = 0.002  # seconds between two reads of a ledger
ENDED_WITHIN = 30.0  # seconds from the last start until all jobs have ended in the store
_WARM_UP = 20  # jobs before the first that is timed: connections, prepared statements

Answer = dict[str, Any]


async def describe(peer: Peer, *packages: str) -> Answer:
    """Return the versions and the set-up."""
    versions = {name: version(name) for name in packages}
    return {"configuration": peer.configuration, "versions": versions}


async def prepare(peer: Peer) -> Answer:
    """Create the tables."""
    await peer.prepare()
    return {}


async def one_by_one(peer: Peer, jobs: str, seconds: str) -> Answer:
    """Store jobs, one at a time."""
    async with peer.producer() as producer:
        await enqueuing.one_by_one(producer, _WARM_UP, 10.0)
        return asdict(await enqueuing.one_by_one(producer, int(jobs), float(seconds)))


async def concurrently(peer: Peer, jobs: str, seconds: str) -> Answer:
    """Store jobs from many callers at once."""
    async with peer.producer() as producer:
        await enqueuing.concurrently(producer, 10 * _WARM_UP, 10.0)
        return asdict(await enqueuing.concurrently(producer, int(jobs), float(seconds)))


async def in_bulk(peer: Peer, jobs: str) -> Answer:
    """Store jobs as fast as the system can."""
    async with peer.producer() as producer:
        stored = await enqueuing.in_bulk(producer, int(jobs))
        return {**asdict(stored), "one_call": producer.add_many is not None}


async def paced(peer: Peer, first: str, jobs: str) -> Answer:
    """Store jobs 5 ms apart, after a few that are not timed."""
    async with peer.producer() as producer:
        await enqueuing.one_by_one(producer, 1, 10.0)
        await asyncio.sleep(0.2)
        numbers = range(int(first), int(first) + int(jobs))
        calls = await enqueuing.paced(producer, numbers, GAP)
    return {"calls": [[call.began_at, call.ended_at] for call in calls]}


async def watch(peer: Peer, jobs: str, seconds: str) -> Answer:
    """Wait until `jobs` jobs have started, then until all have ended in the store.

    Until the last start it reads memory only, so it does not disturb the measurement. The first
    count opens the connection; then it prints "ready".
    """
    await peer.count()
    print("ready", flush=True)
    ledger, deadline = Ledger(Path(os.environ[FOLDER])), time.monotonic() + float(seconds)
    while (started := ledger.count()) < int(jobs):
        if time.monotonic() > deadline:
            return {"started": started}
        await asyncio.sleep(LOOK_EVERY)
    deadline = time.monotonic() + ENDED_WITHIN
    while (found := await peer.count()).unfinished:
        if time.monotonic() > deadline:
            return {"started": started, **asdict(found)}
        await asyncio.sleep(LOOK_EVERY)
    return {"started": started, "ended_at": time.monotonic_ns(), **asdict(found)}


async def count(peer: Peer) -> Answer:
    """Count the jobs in the store."""
    return asdict(await peer.count())


VERBS: Sequence[Callable[..., Coroutine[Any, Any, Answer]]] = (
    describe,
    prepare,
    one_by_one,
    concurrently,
    in_bulk,
    paced,
    watch,
    count,
)


def main(module: str, verb: str, *arguments: str) -> None:
    """Answer one question, or become a worker."""
    peer: Peer = import_module(f"bench.peers.{module}").peer
    if verb == "worker":
        command = list(peer.worker())
        os.execv(command[0], command)  # noqa: S606  # no shell
    answer = {each.__name__: each for each in VERBS}[verb]
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        print(json.dumps(runner.run(answer(peer, *arguments))))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory if it is installed in this environment."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main(*sys.argv[1:])
