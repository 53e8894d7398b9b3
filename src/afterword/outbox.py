"""The outbox: in it one request collects its jobs. Nothing here does I/O.

The middleware (`afterword.asgi`) puts an outbox into `current_outbox` for each request. What is
added lands there, is stored before the first byte of the response, and is released when the request
is over.

A task is confirmed when it is certain that it is to run: those of the injected `BackgroundTasks` at
once, those that the user puts on a Response when Starlette calls them. A call that cannot be stored
runs in this process, in the request, in its place in the order.
"""

import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Protocol

from starlette.websockets import WebSocketDisconnect

from afterword import telemetry
from afterword.bind import AsyncBinding, Binding
from afterword.call import Draft, draft, unstored_draft
from afterword.chain import Chain
from afterword.errors import NotStorable, StoreError
from afterword.handle import Job
from afterword.injection import Injection
from afterword.job import JobRecord, NewJob
from afterword.keeper import Keeper
from afterword.store import Added, Claim
from afterword.task import reference
from afterword.task_options import NO_OPTIONS, CallOptions, fixed

Order = Literal["sequential", "concurrent"]
OnFailure = Literal["stop", "continue"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an application decides about the jobs of one request; see `Afterword`."""

    order: Order = "sequential"
    on_failure: OnFailure = "stop"
    strict: bool = False
    idempotent: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What has become of a job that was to be stored, and the claim if this process holds it."""

    answer: Added
    claim: Claim | None


@dataclass(slots=True, eq=False)
class Entry:
    """One added call. `claim` is set while this process holds its stored job."""

    outbox: "Outbox"
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    job: NewJob
    handle: Job[Any]
    confirmed: bool
    stored: bool = False
    claim: Claim | None = None
    done: bool = False  # released, run, or given up: nothing is left to do about it

    def note(self, stored: Stored) -> None:
        """The job is in the store, or another one that has its unique key."""
        self.stored, self.claim = True, stored.claim
        self.handle.id, self.handle.conflict = stored.answer.id, stored.answer.conflict
        self.job = replace(self.job, id=stored.answer.id) if not stored.answer.added else self.job

    @property
    def runs_here(self) -> bool:
        """Whether the call is to run in the request, because it cannot be stored."""
        return self.confirmed and not self.job.durable


class Carrier(Protocol):
    """What an outbox needs of whoever carries it: the request, and later the application."""

    async def run_until(self, entry: Entry) -> None:
        """Run what comes before this entry and must run in the request, and the entry itself."""

    async def store(self) -> None:
        """Make what has been added durable, before the answer starts."""

    def store_late(self, outbox: "Outbox") -> None:
        """Store and release what was added after the request was over."""

    def bind(self, connection: Any, chain: Chain) -> Binding | AsyncBinding:
        """What adds jobs in a transaction of the user's."""

    def now(self) -> float:
        """Seconds since 1970."""

    async def call(self, entry: Entry) -> None:
        """Run a call here, with what it is injected with."""

    @property
    def injection(self) -> Injection:
        """What the application's functions are given."""

    @property
    def keeper(self) -> Keeper:
        """Who can ask the store."""


@dataclass(slots=True, eq=False)
class Outbox:
    """The calls of one request, in the order they were added.

    Args:
        durable: False if the application has not been started: then nothing is stored.
        idempotency_key: what tells this request from others; its jobs exist once.
    """

    rules: Rules
    durable: bool
    carrier: Carrier
    entries: list[Entry] = field(default_factory=list)
    bound: list[NewJob] = field(default_factory=list)  # left to transactions of the user's
    answered: bool = False  # the first byte is out: what has been stored stays stored
    closed: bool = False  # the request is over
    in_doubt: bool = False  # FastAPI before 0.118: the handler may have failed unnoticed
    # Told of `run_unstorable` when the first call is added that cannot be stored.
    run_in_request: Callable[[Callable[[], Awaitable[None]]], object] | None = None
    idempotency_key: str | None = None
    background_tasks: object | None = None  # the one instance of this request
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
        *,
        confirmed: bool,
    ) -> Entry:
        """Collect a call; errors as of `BackgroundTasks.add_task`."""
        drafted = self._draft(func, args, kwargs, said)
        found = self._find_unique(drafted)
        with self._lock:
            entry = self._entry(func, args, kwargs, drafted, found, confirmed=confirmed)
            self.entries.append(entry)
        if not entry.job.durable and confirmed and self.run_in_request:
            self.run_in_request(self.run_unstorable)
            self.run_in_request = None
        if self.closed:
            self.carrier.store_late(self)
        return entry

    def _entry(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        drafted: Draft,
        found: JobRecord | None,
        *,
        confirmed: bool,
    ) -> Entry:
        if found is not None:
            return self._entry_of(found, func, args, kwargs, drafted, confirmed=confirmed)
        job = self._placed(drafted, confirmed)
        keeper = self.carrier.keeper if job.durable else None
        handle = Job[Any](job.id, job.task, keeper=keeper, durable=job.durable)
        return Entry(self, func, args, kwargs, job, handle, confirmed)

    def _entry_of(
        self,
        found: JobRecord,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        drafted: Draft,
        *,
        confirmed: bool,
    ) -> Entry:
        """The entry of a job that has been there before; what is added behind it follows it."""
        differs = (found.task, found.arguments) != (drafted["task"], drafted["arguments"])
        handle = Job[Any](
            found.id, found.task, keeper=self.carrier.keeper, record=found, conflict=differs
        )
        drafted = {**drafted, "id": found.id}
        job = NewJob(**drafted, request_id=self._request_id or found.request_id)
        entry = Entry(self, func, args, kwargs, job, handle, confirmed)
        entry.stored = entry.done = True
        return entry

    def _find_unique(self, drafted: Draft) -> JobRecord | None:
        """The job that has its unique key already; if it comes only now, the store will see."""
        key = drafted.get("unique_key")
        if key is None:
            return None
        try:
            return self.carrier.keeper.with_key(key, ended=drafted.get("unique_ended", False))
        except StoreError:
            return None  # storing the request's jobs will fail, too, and be answered with a 503

    def _draft(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> Draft:
        """The job of a call; one that is not durable if the call runs in the request."""
        injection = self.carrier.injection
        if not self.durable:
            return unstored_draft(func, args, kwargs, injection)
        try:
            drafted = draft(func, args, kwargs, said, now=self.carrier.now(), injection=injection)
        except NotStorable as error:
            if self.rules.strict or self.closed or said is not NO_OPTIONS:
                raise
            telemetry.not_durable(reference(func), str(error))
            return unstored_draft(func, args, kwargs, injection)
        return self._keyed(drafted)

    def _keyed(self, drafted: Draft) -> Draft:
        """The n-th call of a request with an Idempotency-Key is the same when that is repeated."""
        if self.idempotency_key is None or drafted["unique_key"] is not None:
            return drafted
        number = len(self.entries) + len(self.bound)
        key = fixed(f"{self.idempotency_key}:{number}")
        return {**drafted, "unique_key": key, "unique_ended": True}

    def _placed(self, drafted: Draft, confirmed: bool) -> NewJob:
        """The job with its place in the order of the request."""
        if not drafted.get("durable", True):
            return NewJob(**drafted)
        ordered = self.rules.order == "sequential"
        before = (
            next((e for e in reversed(self.entries) if e.job.durable), None) if ordered else None
        )
        # A job that merely follows another of this request needs no hold of its own: it waits for
        # that one. It does if something that is not stored stands between them.
        follows = (
            before is not None
            and before is self.entries[-1]
            and before.confirmed
            and not before.done
        )
        return NewJob(
            **drafted,
            after=before.job.id if before else None,
            on_failure=self.rules.on_failure,
            request_id=self._request_id or drafted["id"],
            held=not (follows and confirmed),
        )

    @property
    def _request_id(self) -> str | None:
        """The first job gives its id to its request."""
        first = self.entries[0].job if self.entries else self.bound[0] if self.bound else None
        return first.request_id if first else None

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """What adds jobs of this request in a transaction of the user's."""
        chain = Chain(
            self._bound_job,
            self.carrier.keeper,
            sequential=self.rules.order == "sequential",
            on_failure=self.rules.on_failure,
            announced=not self.closed,
        )
        return self.carrier.bind(connection, chain)

    def _bound_job(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> NewJob:
        injection = self.carrier.injection
        drafted = draft(func, args, kwargs, said, now=self.carrier.now(), injection=injection)
        with self._lock:
            drafted = self._keyed(drafted)
            job = NewJob(**drafted, request_id=self._request_id or drafted["id"])
            self.bound.append(job)
        return job

    @property
    def unstored(self) -> list[Entry]:
        """The entries that have yet to be written."""
        return [
            entry
            for entry in self.entries
            if entry.job.durable and not entry.stored and not entry.done
        ]

    @property
    def unfinished(self) -> bool:
        """Whether something has yet to be written, or to run here."""
        return not all(entry.stored or entry.done for entry in self.entries)

    async def store(self) -> None:
        """Make it durable now, and the ids certain: another request's job may have a unique key.

        Raises:
            StoreError: let it pass; the client gets a 503.
        """
        await self.carrier.store()

    async def confirm(self, entry: Entry) -> None:
        """The task was called: Starlette does that after the body, and then it is to run.

        A handler that calls it before it has answered wants it run there and then.
        """
        if not self.answered and not entry.stored:
            await self._run_now(entry)
            return
        entry.confirmed = True
        if not entry.job.durable:
            await self.carrier.run_until(entry)

    async def _run_now(self, entry: Entry) -> None:
        entry.done = True
        for follower in self.entries:
            if follower.job.after == entry.job.id:
                follower.job = replace(follower.job, after=entry.job.after, held=True)
        await self.carrier.call(entry)

    async def run_unstorable(self) -> None:
        """Run, in their order, the confirmed calls that could not be stored."""
        while here := [each for each in self.entries if each.runs_here and not each.done]:
            await self.carrier.run_until(here[-1])  # which may have added more

    def drop_if_failed(self, error: BaseException | None) -> None:
        """Forget everything if the handler failed before it gave an answer."""
        if error is not None and not self.answered and not isinstance(error, WebSocketDisconnect):
            self.drop()

    def leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The same, as a callback on a stack of contexts."""
        self.drop_if_failed(error)

    def end_doubt(self, handled: BaseException | None) -> None:
        """The answer starts: one that is given while an error is handled is an error's answer."""
        if self.in_doubt and handled is not None:
            for entry in self.entries:
                entry.done = entry.done or (entry.confirmed and not entry.stored)

    def close(self, carrier: Carrier) -> None:
        """The request is over: leave what is still added to this carrier, and forget the rest.

        Nothing must be left that refers to itself: a request with a cycle is freed by the garbage
        collector, which cost a quarter of its time (`scripts/bench R`).
        """
        self.closed = True
        self.carrier = carrier
        self.entries, self.bound = [], []
        self.run_in_request = None
        self.background_tasks = None

    def drop(self) -> None:
        """Forget what has not been stored."""
        for entry in self.entries:
            entry.done = entry.done or not entry.stored


current_outbox: ContextVar[Outbox | None] = ContextVar("afterword_outbox", default=None)


def open_outbox() -> Outbox | None:
    """The outbox of the request that is being handled here, if any."""
    outbox = current_outbox.get()
    return outbox if outbox is not None and not outbox.closed else None
