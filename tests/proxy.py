"""A TCP proxy between a store and its server, with switches for faults of networks."""

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.helpers import quiet_port

CHUNK = 65_536


class Proxy:
    """A proxy that passes bytes between its own port of 127.0.0.1 and a server.

    Its switches may be called in any thread; they apply to open and to new connections.

    Attributes:
        delay: seconds that bytes take, each way.
        loss: the part of the chunks that are lost and sent again, after `resend` more seconds.
        cuts: number of answers that were cut.
    """

    def __init__(self, host: str, port: int, *, seed: int = 1) -> None:
        self.port = quiet_port()
        self.delay = 0.0
        self.loss = 0.0
        self.resend = 0.2
        self.cuts = 0
        self._target = (host, port)
        self._dice = random.Random(seed)
        self._flows = asyncio.Event()
        self._fatal_request: bytes | None = None
        self._fatal_answer: bytes | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    # ------------------------------------------------------------------ switches

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, like a server that is down."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Listen and pass everything on again (with `delay` and `loss`)."""
        self._fatal_request = self._fatal_answer = None
        self._do(self._listen())

    def cut(self) -> None:
        """Cut all connections; new ones work."""
        self._do(self._cut())

    def swallow(self) -> None:
        """Pass nothing on and close nothing: connections become half-open."""
        self._do(self._swallow())

    def cut_answers(self, to: bytes = b"", holding: bytes | None = None) -> None:
        """Cut a connection in place of the next answer.

        Args:
            to: only an answer to a request that contains these bytes.
            holding: instead, an answer that contains these bytes.
        """
        self._fatal_request = to if holding is None else None
        self._fatal_answer = holding

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    # ------------------------------------------------------------------ life

    def __enter__(self) -> "Proxy":
        """Listen."""
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        """Cut all connections and end."""
        self._do(self._refuse())
        self._do(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, switch: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(switch, self._loop).result(60)

    async def _listen(self) -> None:
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _swallow(self) -> None:
        self._flows.clear()

    async def _cut(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # ------------------------------------------------------------------ bytes

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(*self._target)
        except OSError:
            client.transport.abort()
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._take_requests(reader, connection),
                self._take_answers(answers, connection),
                self._deliver(connection.requests, server),
                self._deliver(connection.answers, client),
            )
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _take_requests(self, reader: asyncio.StreamReader, connection: "_Connection") -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(CHUNK):
                if self._fatal_request is not None and self._fatal_request in chunk:
                    self._fatal_request, connection.doomed = None, True
                connection.requests.put_nowait((self._arrival(), chunk))
        connection.requests.put_nowait(None)

    async def _take_answers(self, reader: asyncio.StreamReader, connection: "_Connection") -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(CHUNK):
                if connection.doomed or self._is_fatal(chunk):
                    self.cuts += 1
                    connection.abort()
                    break
                connection.answers.put_nowait((self._arrival(), chunk))
        connection.answers.put_nowait(None)

    def _is_fatal(self, answer: bytes) -> bool:
        if self._fatal_answer is None or self._fatal_answer not in answer:
            return False
        self._fatal_answer = None
        return True

    def _arrival(self) -> float:
        """Return the time at which bytes that are sent now arrive."""
        lost = self._dice.random() < self.loss
        return self._loop.time() + self.delay + lost * self.resend

    async def _deliver(self, line: "_Line", writer: asyncio.StreamWriter) -> None:
        """Pass chunks on in order, until one side has hung up."""
        with suppress(ConnectionError):
            while True:
                sent = await line.get()
                await self._flows.wait()  # TCP also keeps unacknowledged bytes
                if sent is None:
                    break
                arrival, chunk = sent
                await asyncio.sleep(arrival - self._loop.time())
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


_Line = asyncio.Queue[tuple[float, bytes] | None]  # chunks and when they arrive; None: hung up


@dataclass(eq=False, slots=True)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    requests: _Line = field(default_factory=asyncio.Queue)
    answers: _Line = field(default_factory=asyncio.Queue)
    doomed: bool = False  # it is cut in place of the next answer

    def abort(self) -> None:
        """Abort both halves."""
        self.client.transport.abort()
        self.server.transport.abort()


@contextmanager
def through(url: str) -> Iterator[tuple[Proxy, str]]:
    """Start a proxy for the server of a URL; yields it, and the URL that leads through it."""
    parts = urlsplit(url)
    with Proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        user = f"{parts.username}:{parts.password}" if parts.password else parts.username
        address = f"{user}@127.0.0.1:{proxy.port}" if user else f"127.0.0.1:{proxy.port}"
        yield proxy, urlunsplit(parts._replace(netloc=address))
