"""CPU per request without HTTP: the application is called directly, 32 requests at a time.

    python -m bench.direct durable /async-0 sqlite:////tmp/jobs.db 5000

prints, in microseconds per request, the CPU time of the process and that of the event loop's
thread alone. It is steadier than requests per second, because other processes disturb it less.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import uvloop

from bench.environments import ROOT

CALLERS = 32
WARM_UP = 2_000  # requests

Message = MutableMapping[str, Any]


async def measure(application: str, path: str, requests: int) -> tuple[float, float]:
    """Return the CPU time of the process, and of the loop's thread, per request."""
    from bench import applications

    if application == "durable":
        await applications.afterword.start()
    await _call(application, path, WARM_UP)
    process, thread = time.process_time(), time.thread_time()
    await _call(application, path, requests)
    if application == "durable":
        await applications.afterword.stop()
    process, thread = time.process_time() - process, time.thread_time() - thread
    return process / requests * 1e6, thread / requests * 1e6


async def _call(application: str, path: str, requests: int) -> None:
    numbers = iter(range(requests))
    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(_caller(application, path, numbers))


async def _caller(application: str, path: str, numbers: Any) -> None:
    from bench import applications

    app = getattr(applications, application)
    for _ in numbers:
        await asyncio.create_task(app(_scope(path), _receive, _send))


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-length", b"0")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    if message["type"] == "http.response.start" and message["status"] != 200:
        raise SystemExit(f"a request was answered with {message['status']}")


def main() -> None:
    """Measure the case that the command line names."""
    application, path, url, requests = sys.argv[1:]
    os.chdir(ROOT)
    os.environ["AFTERWORD_URL"] = url
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(application, path, int(requests)))))


if __name__ == "__main__":
    main()
