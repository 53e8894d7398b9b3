"""Gates that hold the store's thread at a point, and requests without a server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from afterword import Afterword, JobRecord
from afterword.client.operation import calling
from afterword.store.protocol import Store
from tests.at_work import wait_for

PATIENCE = 30.0  # seconds

LOOPS = [
    ("asyncio", {"use_uvloop": False}),
    ("asyncio", {"use_uvloop": True}),
]
LOOP_NAMES = ["asyncio", "uvloop"]


# ---------------------------------------------------------------------- the store's thread


class Gate:
    """A point where a thread waits until the test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        """Wait until the gate is open."""
        self.reached.set()
        self._open.wait(PATIENCE)

    def open(self) -> None:
        """Let all threads go on, now and later."""
        self._open.set()

    async def is_reached(self) -> None:
        """Wait until the thread waits here."""
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)


@contextmanager
def before_the_store_begins(afterword: Afterword) -> Iterator[Gate]:
    """Hold the store's thread: operations that are submitted meanwhile wait in its queue."""
    gate = Gate()

    def wait(store: Store) -> None:
        gate.pass_through()

    afterword.runtime.group.submit(calling(wait))
    assert gate.reached.wait(PATIENCE)
    try:
        yield gate
    finally:
        gate.open()


@contextmanager
def before_the_store_answers(afterword: Afterword) -> Iterator[Gate]:
    """Hold the store's thread after its next transaction, before it answers."""
    gate, store = Gate(), afterword.runtime.store
    transaction = store.transaction
    depth = 0

    @contextmanager
    def held() -> Iterator[None]:
        nonlocal depth
        depth += 1
        try:
            with transaction():
                yield
        finally:
            depth -= 1
            if depth == 0:
                gate.pass_through()

    store.transaction = held  # type: ignore[method-assign]
    try:
        yield gate
    finally:
        del store.transaction
        gate.open()


@contextmanager
def impatient(afterword: Afterword) -> Iterator[None]:
    """Requests of this block give the store a tenth of a second; others have the usual time."""
    usual = afterword.intake.store_timeout
    afterword.intake.store_timeout = 0.1
    try:
        yield
    finally:
        afterword.intake.store_timeout = usual


def wait_for_the_answer(afterword: Afterword) -> None:
    """Keep the event loop busy until the store's thread has handed over its answers."""
    afterword.runtime.group.run_blocking(calling(lambda store: None), PATIENCE)


async def is_queued(afterword: Afterword) -> None:
    """Wait until an operation waits for the store's thread."""
    await wait_for(afterword.runtime.group._queue.qsize, description="the store is asked")


# ---------------------------------------------------------------------- requests


@asynccontextmanager
async def started(afterword: Afterword) -> AsyncIterator[Afterword]:
    """Run an application in the test's event loop."""
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


async def request(app: ASGIApp, path: str = "/", **scope: Any) -> list[Message]:
    """Send a request as a server does; returns the messages that were sent."""
    sent: list[Message] = []
    first: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if first:
            return first.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app({**_SCOPE, "type": "http", "method": "POST", "path": path, **scope}, receive, send)
    return sent


async def connect(app: ASGIApp, path: str = "/") -> list[Message]:
    """Open a WebSocket whose client only listens; returns the messages that were sent."""
    sent: list[Message] = []
    first: list[Message] = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        if first:
            return first.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    await app({**_SCOPE, "type": "websocket", "path": path}, receive, send)
    return sent


_SCOPE: dict[str, Any] = {
    "asgi": {"version": "3.0"},
    "headers": [],
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "server": ("site", 80),
    "client": ("127.0.0.1", 1),
    "state": {},
}


def status_of(sent: list[Message]) -> int:
    """Return the status of an answer."""
    return int(sent[0]["status"])


# ---------------------------------------------------------------------- what became of it


async def records(afterword: Afterword) -> list[JobRecord]:
    """Wait until every job has ended; returns the records in the order of adding."""
    store = afterword.inquiries.store()
    await wait_for(
        lambda: all(job.state.final for job in store.find()), description="every job has ended"
    )
    return sorted(store.find(), key=lambda job: job.id)
