"""The middleware: store before the first byte, release when the request is over.

It is the innermost middleware, right around the router, so that it sees exactly the application's
response. The steps of a request:

    handler, dependencies ──▶ [store, held] ──▶ response ──▶ dependencies close ──▶ [release]

- A response is passed on only after the jobs of its request are durable. If they cannot be stored,
  the response becomes a 503, and a StoreError is raised in the application, so that its
  dependencies roll back.
- Calls that cannot be stored run after the body, before the dependencies close. The jobs that were
  added before them are released and waited for first.
- If the process dies in between, the held jobs are recovered like those of any lost worker.

The request's outbox (`outbox`) decides the state of each call.

The lifespan passes through here as well: the worker starts after the application's own start-up and
drains before its shutdown, so that a task never meets a closed pool. Without a lifespan, because
the server has none or the application is mounted in another one, the first request starts the
worker.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterword.errors import ConfigurationError, StoreError
from afterword.request.idempotency import RequestKey
from afterword.request.intake import Intake
from afterword.request.outbox import Outbox, current_outbox

_STORE_RETRY_AFTER = 1  # seconds, in the 503's Retry-After
_CLOSE_TRY_AGAIN = 1013  # WebSocket close code, https://www.iana.org/assignments/websocket
_OUTBOX = "afterword.request.outbox"  # the key of a request's outbox in its scope


class Host(Protocol):
    """The application's `Afterword`, as the middleware needs it."""

    intake: Intake
    in_lifespan: bool  # the application's lifespan passes through the middleware

    def serve(self, app: Starlette) -> None:
        """Take this application, which is about to start or to serve a request."""

    async def start(self) -> None:
        """Open the store and start the worker."""

    async def stop(self) -> None:
        """Drain the worker and close the store."""

    async def start_late(self) -> None:
        """Start without a lifespan, if the event loop outlives the request."""

    async def wait_for_tasks(self, ids: Sequence[str]) -> None:
        """Wait, under the pytest plugin, for these jobs as far as they can run now."""


class AfterwordMiddleware:
    """The ASGI middleware that `Afterword(app)` adds."""

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request, a WebSocket connection or the lifespan through."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        outer: Outbox | None = scope.get(_OUTBOX)
        if outer is not None and outer.intake is self.host.intake:
            await self.app(scope, receive, send)
            return
        if not self.host.intake.started:
            self.host.serve(scope["app"])
            in_outer = outer is not None and outer.intake.started
            if in_outer or not is_of_test_client(scope):
                await self.host.start_late()
            elif self.host.intake.holds_jobs:
                require_asyncio()
                await asyncio.to_thread(self.host.intake.inquiries.store)
        try:
            await _Exchange(self.app, self.host, scope, send).run(receive)
        finally:
            if outer is not None:  # the outer application has an Afterword, too
                scope[_OUTBOX] = outer

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_asyncio()
        self.host.serve(scope["app"])
        state: Mapping[str, Any] = scope.get("state", {})
        self.host.intake.lifespan_state = state
        self.host.in_lifespan = True

        async def start_then_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.host.start()
            await send(message)

        async def receive_then_stop() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.host.stop()
            return message

        try:
            await self.app(scope, receive_then_stop, start_then_send)
        finally:
            await self.host.stop()
            self.host.in_lifespan = False


def require_asyncio() -> None:
    """Refuse an event loop that is not asyncio's.

    Raises:
        ConfigurationError: the application runs in another event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "Afterword needs asyncio's event loop, but this application runs in another one, such"
            " as trio's. Serve it on asyncio (uvicorn; hypercorn without `-k trio`); in a test,"
            ' TestClient(app) without backend="trio".'
        ) from None


def is_of_test_client(scope: Scope) -> bool:
    """True for a request of a client that calls the application directly, without a server.

    Starlette's TestClient runs each request in an event loop of its own unless it is used as a
    context manager. httpx calls the application in the event loop of the test. Neither implies
    a lifespan. Servers put a copy of the lifespan's state in each request's scope.
    """
    client = scope.get("client") or ("", 0)
    return "state" not in scope or client[0] == "testclient"


class _Exchange:
    """One request or connection, from its first line to the release of its jobs."""

    def __init__(self, app: ASGIApp, host: Host, scope: Scope, send: Send) -> None:
        self._app = app
        self._host = host
        self._scope = scope
        self._send = send
        self._closed = False  # a WebSocket's end was sent
        idempotent = host.intake.rules.idempotent
        key = RequestKey.of(scope, idempotent) if idempotent else None
        self.outbox = scope[_OUTBOX] = Outbox(host.intake, key=key)
        self.outbox.messages = scope["type"] == "websocket"

    async def run(self, receive: Receive) -> None:
        outbox = self.outbox
        token = current_outbox.set(outbox)
        try:
            await self._app(self._scope, receive, self._store_then_send)
        except (asyncio.CancelledError, GeneratorExit) as error:
            self._end_at_once(error)
            raise
        except BaseException as error:
            outbox.drop_if_failed(error)
            await self._finish(failed=True)
            if not self._owes_refusal:
                raise
        else:
            if outbox.intake.in_test or not outbox.end_if_stored():
                await self._finish()
        finally:
            current_outbox.reset(token)
        if outbox.refusal and self._owes_refusal:
            await self._refuse()

    # ------------------------------------------------------------------ before the first byte

    async def _store_then_send(self, message: Message) -> None:
        outbox = self.outbox
        if outbox.entries:
            if outbox.in_doubt and not outbox.answered:
                outbox.end_doubt(sys.exc_info()[1])
            await outbox.store()
        if message["type"] == "http.response.start":
            outbox.answered, outbox.answered_error = True, message["status"] >= 400
        elif message["type"] == "websocket.close":
            self._closed = True
        await self._send(message)

    @property
    def _owes_refusal(self) -> bool:
        """True if the request is refused and the client has no response yet."""
        refused = self.outbox.refusal is not None
        return refused and not (self.outbox.answered or self._closed)

    async def _refuse(self) -> None:
        if self._scope["type"] == "websocket":
            await self._send(
                {"type": "websocket.close", "code": _CLOSE_TRY_AGAIN, "reason": "try again later"}
            )
            return
        body = json.dumps(
            {"detail": "The background tasks of this request could not be stored. Try again."}
        ).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % _STORE_RETRY_AFTER),
        ]
        await self._send({"type": "http.response.start", "status": 503, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    # ------------------------------------------------------------------ when the request is over

    def _end_at_once(self, error: BaseException) -> None:
        """End a request that was cancelled: nothing may be awaited here any more."""
        outbox = self.outbox
        outbox.drop_if_failed(error)
        if isinstance(error, asyncio.CancelledError) and any(e.runs_here for e in outbox.entries):
            self._host.intake.finish_later(self._finish(failed=True))
        else:
            outbox.forget_unconfirmed(failed=True)
            self._end()

    async def _finish(self, *, failed: bool = False) -> None:
        """Run the calls left for this request, then release its jobs, even after errors."""
        outbox = self.outbox
        outbox.forget_unconfirmed(failed=failed)
        try:
            if outbox.unfinished:
                await outbox.run_unstorable()
                with contextlib.suppress(StoreError):  # logged; the end tries once more
                    await outbox.store()
        finally:
            ids = self._end()
        if ids and outbox.intake.in_test and outbox.intake.stores:
            await self._host.wait_for_tasks(ids)

    def _end(self) -> list[str]:
        """Release the jobs of the request; return their ids for the pytest plugin."""
        outbox = self.outbox
        ids = outbox.stored_ids if outbox.intake.in_test else []
        outbox.end()
        if outbox.bound is not None:
            outbox.intake.announce()
            ids += outbox.bound.ids
        return ids
