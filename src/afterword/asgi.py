"""The middleware: store before the first byte, release when the request is over.

It is the innermost middleware, right around the router, so that what it sees is what the
application answered. A request goes through it like this:

    handler, dependencies ──▶ [store, held] ──▶ response ──▶ dependencies close ──▶ [release]

- An answer is passed on only after the jobs it promises are durable. If they cannot be stored, the
  answer becomes a 503, and the exception that says so runs through the application, so that its
  dependencies roll back.
- Calls that cannot be stored run after the body, before the dependencies close; jobs added
  before them are released and waited for first.
- If the process dies anywhere in between, the held jobs are lost with their worker, and recovered.

The lifespan passes through here as well: the worker starts after the application's own start-up and
drains before its shutdown, so that a task never meets a closed pool.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterword import telemetry
from afterword.bind import AsyncBinding, Binding
from afterword.chain import Chain
from afterword.errors import StoreError
from afterword.injection import Injection
from afterword.inline import call_injected
from afterword.job import NewJob
from afterword.keeper import Keeper
from afterword.outbox import Entry, Outbox, Rules, Stored, current_outbox
from afterword.outcome import describe
from afterword.scope import Provided
from afterword.store import STOPPED, Claim

_STORE_RETRY_AFTER = 1  # seconds, in the 503's Retry-After
_TEST_PATIENCE = 30.0  # seconds a request waits for its tasks under the pytest plugin
_CLOSE_TRY_AGAIN = 1013  # WebSocket close code, https://www.iana.org/assignments/websocket


class Host(Protocol):
    """What the middleware needs of the application's `Afterword`."""

    rules: Rules
    started: bool
    keeper: Keeper  # asks the store about jobs
    waits_for_tasks: bool  # under the pytest plugin
    injection: Injection  # what the application's functions are given
    lifespan_state: Mapping[str, Any]  # what its lifespan has yielded

    def redact(self, text: str, /) -> str:
        """What may be kept of an error's text."""

    async def start(self) -> None:
        """Open the store, start the worker."""

    async def stop(self) -> None:
        """Drain the worker, close the store."""

    async def store(
        self, jobs: Sequence[NewJob], stored_anyway: Callable[[Sequence[Stored]], object]
    ) -> Sequence[Stored]:
        """Make jobs durable; what became of them, also if cancelled too late."""

    def store_blocking(self, jobs: Sequence[NewJob]) -> Sequence[Stored]:
        """The same for a thread, or for where nothing can be awaited."""

    def release(self, ready: Sequence[Claim], waiting: Sequence[Claim]) -> None:
        """Let held jobs run: those that are ready here, if there is room."""

    def discard(self, claims: Sequence[Claim]) -> None:
        """Forget held jobs that nobody confirmed."""

    def cancel(self, claims: Sequence[Claim], reason: str) -> None:
        """End held jobs that must not run any more."""

    def finish_later(self, work: Awaitable[None]) -> None:
        """Go on with this after the request was cancelled."""

    def bind_chain(self, connection: Any, chain: Chain) -> Binding | AsyncBinding:
        """What adds jobs in a transaction of the user's."""

    def as_task(self, entry: Entry) -> AbstractContextManager[Provided]:
        """Run a call here as if a worker did; gives what is injected by annotation alone."""

    def announce(self) -> None:
        """Let the workers look for jobs that such a transaction has committed."""

    def now(self) -> float:
        """Seconds since 1970."""


class AfterwordMiddleware:
    """Wraps an ASGI application; `Afterword(app)` adds it."""

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self.app = app
        self.host = host
        self._latecomers = _Latecomers(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request, a WebSocket connection or the lifespan through."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif "afterword.outbox" in scope:  # a mounted application with an Afterword of its own
            await self.app(scope, receive, send)
        else:
            await _Exchange(self.app, self.host, self._latecomers, scope, send).run(receive)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.host.lifespan_state = scope.get("state", {})

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


class _Exchange:
    """One request or connection, from its first line to the release of its jobs."""

    def __init__(
        self, app: ASGIApp, host: Host, latecomers: "_Latecomers", scope: Scope, send: Send
    ) -> None:
        self._app = app
        self._host = host
        self._latecomers = latecomers
        self._scope = scope
        self._send = send
        self._refused = False  # the jobs could not be stored before the first byte
        self._failed = False  # a call that ran here raised: the rest is to stop
        self.outbox = Outbox(host.rules, durable=host.started, carrier=self)
        if host.rules.idempotent:
            self.outbox.idempotency_key = _idempotency_key(scope)
        scope["afterword.outbox"] = self.outbox

    async def run(self, receive: Receive) -> None:
        token = current_outbox.set(self.outbox)
        try:
            await self._app(self._scope, receive, self._store_then_send)
        except asyncio.CancelledError:
            self._host.finish_later(self._finish())
            raise
        except BaseException as error:
            self.outbox.drop_if_failed(error)
            await self._finish()
            if not self._owes_refusal:
                raise
        else:
            await self._finish()
        finally:
            current_outbox.reset(token)
        if self._owes_refusal:
            await self._refuse()

    # ------------------------------------------------------------------ before the first byte

    async def _store_then_send(self, message: Message) -> None:
        if self.outbox.entries:
            await self.store()
        if message["type"] == "http.response.start":
            self.outbox.answered = True
        await self._send(message)

    async def store(self) -> None:
        """Make everything durable that is not yet: an answer is about to start, or has."""
        outbox = self.outbox
        if outbox.in_doubt and not outbox.answered:
            outbox.end_doubt(sys.exc_info()[1])
        if outbox.unfinished:
            await self._store()

    async def _store(self) -> None:
        entries = self.outbox.unstored
        if not entries:
            return
        try:
            stored = await self._host.store(
                [entry.job for entry in entries], lambda stored: _mark_stored(entries, stored)
            )
        except StoreError as error:
            if not self.outbox.answered:
                self._refused = True
                self.outbox.drop()
            telemetry.not_stored(str(error))
            raise
        _mark_stored(entries, stored)

    @property
    def _owes_refusal(self) -> bool:
        """Whether the client still has to be told, the application having told it nothing."""
        return self._refused and not self.outbox.answered

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

    # ------------------------------------------------------------------ after the body

    async def run_until(self, entry: Entry) -> None:
        """Run the calls up to this one that could not be stored, each after those before it."""
        if not self.outbox.durable and not self._host.started:
            telemetry.not_started()
        for each in self._confirmed_until(entry):
            if not each.runs_here or each.done:
                continue
            each.done = True
            await self._wait_for_those_before(each)
            if not self._stopped:
                await self._call(each)

    def _confirmed_until(self, last: Entry) -> list[Entry]:
        position = self.outbox.entries.index(last)
        return [entry for entry in self.outbox.entries[: position + 1] if entry.confirmed]

    async def _wait_for_those_before(self, entry: Entry) -> None:
        """Release the stored jobs before this call, and wait for them: the order is the promise."""
        before = [each for each in self._confirmed_until(entry) if each.stored]
        if not before or self._host.rules.order == "concurrent":
            return
        self._release(before)
        if not await self._host.keeper.wait_ended([each.job.id for each in before]):
            self._failed = True

    @property
    def _stopped(self) -> bool:
        return self._failed and self._host.rules.on_failure == "stop"

    async def call(self, entry: Entry) -> None:
        """The same as after the request."""
        await self._latecomers.call(entry)

    async def _call(self, entry: Entry) -> None:
        try:
            await self.call(entry)
        except Exception as error:
            self._failed = True
            if not self.outbox.durable:
                raise  # not started: as with FastAPI, a test client sees the error
            # Started: an error that reached the server would close the client's connection.
            telemetry.task_failed(entry.job.task, self._host.redact(describe(error)))

    # ------------------------------------------------------------------ when the request is over

    async def _finish(self) -> None:
        """Nothing of the request is open any more: let its jobs go, come what may."""
        try:
            await self._let_go()
        except asyncio.CancelledError:  # perhaps while storing, which may be repeated
            self._host.finish_later(self._let_go())
            raise

    async def _let_go(self) -> None:
        if self.outbox.bound:
            self._host.announce()
        if self.outbox.entries:
            await self._let_entries_go()
        if self.outbox.bound and self._host.waits_for_tasks and self._host.started:
            await self._host.keeper.wait_ended(
                [job.id for job in self.outbox.bound], _TEST_PATIENCE
            )
        self.outbox.close(self._latecomers)

    async def _let_entries_go(self) -> None:
        outbox = self.outbox
        self._discard_unconfirmed()
        try:
            if outbox.unfinished:
                await self._store()
                await outbox.run_unstorable()
                await self._store()
        except StoreError:
            outbox.drop()  # logged; the answer is out, and these were added after it
        finally:
            outbox.closed = True
            self._release(outbox.entries)
        stored = [entry.job.id for entry in outbox.entries if entry.stored]
        if stored and self._host.waits_for_tasks:
            await self._host.keeper.wait_ended(stored, _TEST_PATIENCE)

    def _discard_unconfirmed(self) -> None:
        unwanted = [entry for entry in self.outbox.entries if not entry.confirmed]
        if unwanted:
            self._host.discard([entry.claim for entry in unwanted if entry.claim])
        for entry in unwanted:
            entry.done, entry.stored, entry.claim = True, False, None

    def _release(self, entries: Sequence[Entry]) -> None:
        if self._stopped:
            claims = [claim for claims in _take_held(entries) for claim in claims]
            self._host.cancel(claims, STOPPED)
        else:
            _release(self._host, entries)

    def store_late(self, outbox: Outbox) -> None:
        """The same as after the request."""
        self._latecomers.store_late(outbox)

    def bind(self, connection: Any, chain: Chain) -> Binding | AsyncBinding:
        """The same as after the request."""
        return self._latecomers.bind(connection, chain)

    def now(self) -> float:
        """The application's clock."""
        return self._host.now()

    @property
    def injection(self) -> Injection:
        """The application's."""
        return self._host.injection

    @property
    def keeper(self) -> Keeper:
        """The application's."""
        return self._host.keeper


def _idempotency_key(scope: Scope) -> str | None:
    """What a client that repeats its request sends again, for this very resource.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    """
    for name, value in scope.get("headers", ()):
        if name == b"idempotency-key" and value.strip():
            return f"{scope.get('method', '')} {scope['path']} {value.decode('latin-1')}"
    return None


class _Latecomers:
    """Carries what is added to an outbox when its request is over: by a thread, say."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def run_until(self, entry: Entry) -> None:
        """Somebody calls the task by hand."""
        await self.call(entry)

    async def call(self, entry: Entry) -> None:
        """Call it here, with what it is injected with."""
        with self._host.as_task(entry) as provided:
            await call_injected(
                self._host.injection, provided, entry.func, entry.args, entry.kwargs
            )

    async def store(self) -> None:
        """Nothing is left to be stored: it is done when it is added."""

    def store_late(self, outbox: Outbox) -> None:
        """Store and release what was added, before `add_task` returns."""
        entries = outbox.unstored
        _mark_stored(entries, self._host.store_blocking([entry.job for entry in entries]))
        _release(self._host, entries)
        outbox.entries = []

    def bind(self, connection: Any, chain: Chain) -> Binding | AsyncBinding:
        """Nothing of it is held by the request, so it is the same at any time."""
        return self._host.bind_chain(connection, chain)

    def now(self) -> float:
        """The application's clock."""
        return self._host.now()

    @property
    def injection(self) -> Injection:
        """The application's."""
        return self._host.injection

    @property
    def keeper(self) -> Keeper:
        """The application's."""
        return self._host.keeper


def _release(host: Host, entries: Sequence[Entry]) -> None:
    ready, waiting = _take_held(entries)
    if ready or waiting:
        host.release(ready, waiting)


def _take_held(entries: Sequence[Entry]) -> tuple[list[Claim], list[Claim]]:
    """The claims to let go, each once: those that may start, and those that wait for another."""
    ready: list[Claim] = []
    waiting: list[Claim] = []
    for entry in entries:
        if entry.claim and not entry.done:
            at_once = entry.job.after is None and entry.job.run_at is None
            (ready if at_once else waiting).append(entry.claim)
        entry.done = entry.done or entry.stored
    return ready, waiting


def _mark_stored(entries: Sequence[Entry], stored: Sequence[Stored]) -> None:
    for entry, each in zip(entries, stored, strict=True):
        entry.note(each)
