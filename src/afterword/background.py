"""BackgroundTask and BackgroundTasks, and the outbox in which one request collects its jobs.

Nothing here does I/O. Inside a request, the middleware (`afterword.asgi`) has put an outbox into
`current_outbox`; what is added lands there, is stored before the first byte of the response, and is
released when the request is over. Outside of one, the classes do what Starlette's do.

A task is confirmed when it is certain that it is to run: those of the injected `BackgroundTasks` at
once, those that the user puts on a Response when Starlette calls them. A call that cannot be stored
runs in this process, in the request, in its place in the order.
"""

import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal, ParamSpec, Protocol, overload

from starlette.background import BackgroundTask as StarletteBackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.websockets import WebSocketDisconnect

from afterword import telemetry
from afterword.arguments import plan
from afterword.bind import AsyncBinding, Binding
from afterword.chain import Chain
from afterword.connections.kinds import AsyncSession, Awaited, Synchronous
from afterword.errors import ArgumentError, NotInstalled, NotStorable
from afterword.job import NewJob, new_id
from afterword.store import Claim
from afterword.task import is_async, options_of, reference, require_callable, storable

P = ParamSpec("P")
Order = Literal["sequential", "concurrent"]
OnFailure = Literal["stop", "continue"]


class BackgroundTask(StarletteBackgroundTask):
    """A call to be made after the response has been sent; put it on a Response.

    Args:
        func: any callable, `def` or `async def`; a function at the top of a module is durable.
        args, kwargs: its arguments. No keyword is reserved.

    Raises:
        TypeError: not a callable, or arguments that do not fit its signature.

    Example:
        >>> from starlette.responses import PlainTextResponse
        >>> response = PlainTextResponse("ok", background=BackgroundTask(print, "sent"))
    """

    def __init__(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        require_callable(func)
        _set_call(self, func, args, kwargs)
        self._entry: Entry | None = None
        if outbox := open_outbox():
            self._entry = outbox.add(func, args, kwargs, confirmed=False)

    async def __call__(self) -> None:
        """Run, or, if the call has been stored, confirm that it is to run."""
        if self._entry is None:
            await call(self.func, self.args, self.kwargs)
        else:
            await self._entry.outbox.confirm(self._entry)


class BackgroundTasks(BackgroundTask):
    """Calls to be made after the response, one after the other, in the order they were added.

    In a FastAPI route take it as a parameter, by the name `afterword.fastapi.BackgroundTasks`.

    Args:
        tasks: what to begin with.

    Example:
        >>> tasks = BackgroundTasks([BackgroundTask(print, "first")])
        >>> job = tasks.add_task(print, "second")
    """

    def __init__(  # as Starlette's: no call of its own
        self, tasks: Sequence[StarletteBackgroundTask] | None = None
    ) -> None:
        self.tasks = list(tasks) if tasks else []
        self._outbox: Outbox | None = None

    @classmethod
    def of_request(cls, outbox: "Outbox") -> "BackgroundTasks":
        """The instance that one request's handler and dependencies share."""
        tasks = cls()
        tasks._outbox = outbox
        return tasks

    def add_task(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """Add a call.

        Args:
            func: any callable, `def` or `async def`; a function at the top of a module is durable.
            args, kwargs: its arguments. No keyword is reserved.

        Returns:
            The job: its `id`, and whether it is `durable`.

        Raises:
            TypeError: not a callable, or arguments that do not fit its signature.
            NotStorable: it cannot be stored, and the application was set to `strict=True`.
        """
        if self._outbox is None:
            task = BackgroundTask(func, *args, **kwargs)
            self.tasks.append(task)
            return task._entry.job if task._entry else _unstored_job(func)
        require_callable(func)
        entry = self._outbox.add(func, args, kwargs, confirmed=True)
        self.tasks.append(_Confirmed(entry))
        return entry.job

    @overload
    def bind(self, connection: AsyncSession) -> Binding: ...

    @overload
    def bind(self, connection: Awaited) -> AsyncBinding: ...

    @overload
    def bind(self, connection: Synchronous) -> Binding: ...

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """What adds jobs in a transaction of yours: they exist if and only if it commits.

        Args:
            connection: a session or connection to the database in which the store lives.

        Raises:
            ConfigurationError: it is none that can be bound, or the store lives elsewhere.

        Example:
            def sign_up(email: str, background_tasks: BackgroundTasks, session: RequestSession):
                session.add(User(email=email))
                background_tasks.bind(session).add_task(send_welcome, email)
                session.commit()  # both, or neither
        """
        outbox = self._outbox or open_outbox()
        if outbox is None:
            raise NotInstalled(
                "BackgroundTasks.bind(...) needs the request in which it is called, and this is"
                " none. Anywhere else use Afterword.bind(...)."
            )
        return outbox.bind(connection)

    async def __call__(self) -> None:
        """Run the calls in order, or confirm those that have been stored."""
        for task in self.tasks:
            await task()


def _set_call(task: Any, func: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """What Starlette's constructor does, which keeps the keyword `func` to itself."""
    task.func, task.args, task.kwargs = func, args, kwargs
    task.is_async = is_async(func)


class _Confirmed(StarletteBackgroundTask):
    """An entry of the injected BackgroundTasks, should these also be put on a Response."""

    def __init__(self, entry: "Entry") -> None:
        _set_call(self, entry.func, entry.args, entry.kwargs)
        self._entry = entry

    async def __call__(self) -> None:
        await self._entry.outbox.confirm(self._entry)


# ---------------------------------------------------------------------- the outbox


@dataclass(frozen=True, slots=True)
class Rules:
    """What an application decides about the jobs of one request; see `Afterword`."""

    order: Order = "sequential"
    on_failure: OnFailure = "stop"
    strict: bool = False


@dataclass(slots=True, eq=False)
class Entry:
    """One added call. `claim` is set while this process holds its stored job."""

    outbox: "Outbox"
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    job: NewJob
    confirmed: bool
    stored: bool = False
    claim: Claim | None = None
    done: bool = False  # released, run, or given up: nothing is left to do about it

    @property
    def runs_here(self) -> bool:
        """Whether the call is to run in the request, because it cannot be stored."""
        return self.confirmed and not self.job.durable


class Carrier(Protocol):
    """What an outbox needs of whoever carries it: the request, and later the application."""

    async def run_until(self, entry: Entry) -> None:
        """Run what comes before this entry and must run in the request, and the entry itself."""

    def store_late(self, outbox: "Outbox") -> None:
        """Store and release what was added after the request was over."""

    def bind(self, connection: Any, chain: Chain) -> Binding | AsyncBinding:
        """What adds jobs in a transaction of the user's."""


@dataclass(slots=True, eq=False)
class Outbox:
    """The calls of one request, in the order they were added.

    Args:
        durable: False if the application has not been started: then nothing is stored.
    """

    rules: Rules
    durable: bool
    carrier: Carrier
    entries: list[Entry] = field(default_factory=list)
    bound: list[NewJob] = field(default_factory=list)  # left to transactions of the user's
    answered: bool = False  # the first byte is out: what has been stored stays stored
    closed: bool = False  # the request is over
    in_doubt: bool = False  # FastAPI before 0.118: the handler may have failed unnoticed
    on_first_unstorable: Callable[[], None] | None = None
    _background_tasks: BackgroundTasks | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def background_tasks(self) -> BackgroundTasks:
        """The one instance of this request."""
        if self._background_tasks is None:
            self._background_tasks = BackgroundTasks.of_request(self)
        return self._background_tasks

    def add(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        confirmed: bool,
    ) -> Entry:
        """Collect a call; errors as of `BackgroundTasks.add_task`."""
        encoded = self._encode(func, args, kwargs)
        with self._lock:
            job = self._job(*encoded, confirmed) if encoded else _unstored_job(func)
            entry = Entry(self, func, args, kwargs, job, confirmed)
            self.entries.append(entry)
        if not job.durable and confirmed and self.on_first_unstorable:
            self.on_first_unstorable()
            self.on_first_unstorable = None
        if self.closed:
            self.carrier.store_late(self)
        return entry

    def _encode(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, str] | None:
        """The task's name and its arguments as text; None if the call runs in the request."""
        refuse_uploads(args, kwargs)
        if not self.durable:
            return None
        try:
            return encode(func, args, kwargs)
        except NotStorable as error:
            if self.rules.strict or self.closed:
                raise
            telemetry.not_durable(reference(func), str(error))
            return None

    def _job(self, name: str, arguments: str, confirmed: bool) -> NewJob:
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
        job_id = new_id()
        return NewJob(
            id=job_id,
            task=name,
            arguments=arguments,
            queue=options_of(name).queue,
            after=before.job.id if before else None,
            on_failure=self.rules.on_failure,
            request_id=self._request_id or job_id,
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
            sequential=self.rules.order == "sequential",
            on_failure=self.rules.on_failure,
            announced=not self.closed,
        )
        return self.carrier.bind(connection, chain)

    def _bound_job(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> NewJob:
        require_callable(func)
        refuse_uploads(args, kwargs)
        name, arguments = encode(func, args, kwargs)
        with self._lock:
            job_id, queue = new_id(), options_of(name).queue
            request_id = self._request_id or job_id
            job = NewJob(
                id=job_id, task=name, arguments=arguments, queue=queue, request_id=request_id
            )
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
        await call(entry.func, entry.args, entry.kwargs)

    async def run_unstorable(self) -> None:
        """Run, in their order, the confirmed calls that could not be stored."""
        while here := [each for each in self.entries if each.runs_here and not each.done]:
            await self.carrier.run_until(here[-1])  # which may have added more

    def drop_if_failed(self, error: BaseException | None) -> None:
        """Forget everything if the handler failed before it gave an answer."""
        if error is not None and not self.answered and not isinstance(error, WebSocketDisconnect):
            self.drop()

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
        self.on_first_unstorable = None
        self._background_tasks = None

    def drop(self) -> None:
        """Forget what has not been stored."""
        for entry in self.entries:
            entry.done = entry.done or not entry.stored


current_outbox: ContextVar[Outbox | None] = ContextVar("afterword_outbox", default=None)


def open_outbox() -> Outbox | None:
    """The outbox of the request that is being handled here, if any."""
    outbox = current_outbox.get()
    return outbox if outbox is not None and not outbox.closed else None


# ---------------------------------------------------------------------- calls


def encode(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, str]:
    """The stored form of a call: the task's name, and its arguments as JSON.

    Raises:
        NotStorable, ArgumentError, ArgumentValueError: see `afterword.errors`.
    """
    return storable(func), plan(func).encode(args, kwargs)


def _unstored_job(func: Callable[..., Any]) -> NewJob:
    return NewJob(id=new_id(), task=reference(func), durable=False)


def refuse_uploads(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """An UploadFile is closed before any task runs.

    Raises:
        ArgumentError: with the lines that keep the upload.
    """
    if any(isinstance(value, UploadFile) for value in (*args, *kwargs.values())):
        raise ArgumentError(
            "An UploadFile is closed when its request ends, before any task runs."
            " Save it first and pass the path:\n"
            "    path = Path(tempfile.mkstemp()[1]); path.write_bytes(await file.read())\n"
            "    background_tasks.add_task(process, path)"
        )


async def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call a task as Starlette does: `async def` here, `def` in a thread."""
    if is_async(func):
        await func(*args, **kwargs)
        return
    result = await run_in_threadpool(functools.partial(func, *args, **kwargs))
    if isinstance(result, Awaitable):
        await result
