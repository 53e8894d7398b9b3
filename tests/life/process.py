"""A process that works on a store; tests start several at a time, and kill them.

python -m tests.life.process work URL '{"concurrency": 2}'
python -m tests.life.process schedule "URL URL" '{}'
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from afterword.store.protocol import Store
from tests import warm
from tests.helpers import ROOT

Process = subprocess.Popen[bytes]


@contextmanager
def started(what: str, url: str, **options: Any) -> Iterator[Process]:
    """Start a process, and kill it afterwards."""
    process = start(what, url, **options)
    try:
        yield process
    finally:
        end(process)


def start(what: str, url: str, *, stdout: int | None = None, **options: Any) -> Process:
    """Start a process; it takes about a second to start working."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.life.process", what, url, json.dumps(options)]
    return warm.Popen(command, env=environment, cwd=ROOT, stdout=stdout)


def end(process: Process) -> None:
    """Kill a process if it still runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def kill(process: Process, store: Store) -> None:
    """Kill it, and let nobody wait for the end of its lease."""
    workers = [each.id for each in store.workers() if each.pid == process.pid]
    process.kill()
    process.wait()
    for each in workers:
        store.leave(each)


# ---------------------------------------------------------------------- in the process


async def work(url: str, options: dict[str, Any]) -> None:
    """Run jobs of the tests' tasks."""
    from tests.life import tasks
    from tests.life.site import working

    async with working(url, **options):
        tasks.write("ready", "worker")
        await asyncio.sleep(60)


async def schedule(urls: str, options: dict[str, Any]) -> None:
    """Run the schedule of `tasks` in several stores, but no jobs."""
    from tests.life.tasks import scheduling

    for each in urls.split():
        await scheduling(each, **options).start()
    await asyncio.sleep(60)


async def add(url: str, options: dict[str, Any]) -> None:
    """Add unique jobs, in threads, as fast as possible; prints their ids by key."""
    from tests.life.tasks import add_unique

    print(json.dumps(await add_unique(url, **options)))


if __name__ == "__main__":
    name, url, options = sys.argv[1:]
    asyncio.run({"work": work, "schedule": schedule, "add": add}[name](url, json.loads(options)))
