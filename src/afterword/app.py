"""`Afterword`: the façade, and the only module besides the CLI that knows every role."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload
from weakref import WeakSet

from starlette.applications import Starlette
from starlette.middleware import Middleware

from afterword import telemetry
from afterword.client import holdings, upkeep
from afterword.client.adder import ScriptTaskAdder
from afterword.client.call import Call
from afterword.client.group_commit import GroupCommit
from afterword.client.handle import Job
from afterword.client.inquiries import Keeper
from afterword.client.leases import Leases
from afterword.client.operation import calling
from afterword.errors import (
    ConfigurationError,
    InjectionError,
    NoContainer,
    NotStorable,
    StoreError,
)
from afterword.injection.injectors import injection_of
from afterword.injection.needs import Injector, checked_injectors, native, refused_by_all
from afterword.model.checks import (
    check_callable,
    check_choice,
    check_flag,
    check_number,
    checked_queues,
    queue_limits,
)
from afterword.model.clock import Clock, StoreClock
from afterword.model.fork import in_child
from afterword.model.job import JobRecord, NewJob
from afterword.model.outcome import redacting
from afterword.model.threads import refuse_event_loop
from afterword.process.termination import Termination
from afterword.request.bind import AsyncBinding, Binding
from afterword.request.idempotency import Whose
from afterword.request.intake import Intake, OnFailure, Order, Rules
from afterword.request.middleware import AfterwordMiddleware, require_asyncio
from afterword.schedules.recurrence import as_rule
from afterword.schedules.schedule import Missed, Overlap
from afterword.schedules.scheduler import Planned, Scheduler
from afterword.store.protocol import Store, open_store
from afterword.tasks import application
from afterword.tasks.options import NO_OPTIONS, CallOptions
from afterword.tasks.registry import check_names, declare, declare_all, registered, require_callable
from afterword.tasks.retry import checked_retries
from afterword.transactions.connections.kinds import AsyncSession, Awaited, Synchronous
from afterword.transactions.statements import Transactions
from afterword.worker.worker import Worker

if TYPE_CHECKING:
    from fastapi import APIRouter
    from fastapi.params import Depends

    from afterword.request.job_status import ShowErrors

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "sqlite:///afterword.db"
SET_CLOCK_EVERY = 30.0  # seconds
WRONG_CLOCK = 5.0  # seconds by which a host's clock may differ from the store's without a word

_applications: "WeakSet[Afterword]" = WeakSet()  # of this process


@native()
class Afterword(ScriptTaskAdder):
    """Durable background tasks for one application.

    Args:
        app: a FastAPI or Starlette application; None for a script that only adds jobs.
        url: the store. Default: the environment's `AFTERWORD_URL`, else `sqlite:///afterword.db`.
        concurrency: attempts that run at the same time in this process. Default: 40.
        order: "sequential" runs the jobs of one request one after the other, in the order they
            were added; "concurrent" makes them independent of each other.
        on_failure: what a failed job does to the later ones of its request: "stop" cancels them,
            "continue" does not.
        strict: refuse calls that cannot be stored. Default: they run in their request, with a
            warning.
        lease: seconds after which the jobs of a process that hangs are given to another one.
            (A process that died is noticed at once where the store can tell.) Default: 30.
        grace: seconds a shutdown waits for running attempts before it gives them back. Default: 20.
        retention: seconds for which finished jobs are kept. Default: 7 days.
        worker: False only stores jobs here and lets other processes run them.
        queues: what the worker serves; the first one first, the others with the slots it leaves.
            With numbers, {"mail": 5, "reports": 1}, that is how many jobs of a queue may run at
            the same time, over all processes (None: any number). Default: "default".
        retries: how often a job is tried again after an error, if its task does not say.
            Default: 0.
        idempotent: takes a request's `Idempotency-Key` header as the unique key of its jobs: a
            client that repeats its request gets the same jobs. A function of the request tells
            whose key it is, such as the user's name: nobody meets the jobs of others. If it returns
            None, the header is not heeded. With True, keys are told apart by method and path only.
        redact: takes the text of a task's error before it is stored or logged, and returns what may
            be kept of it. Default: all of it, up to 16 KiB.
        store_timeout: seconds after which a request whose jobs cannot be stored is answered with
            503. Default: 5.
        injectors: what fills the parameters of tasks, beside what is found by itself (FastAPI's
            `Depends`; Wireup and dishka, if the application has been set up for them).
        tasks: modules whose functions stored jobs may call, and single functions, beside those of
            the application's own modules (see `afterword.tasks.application`).

    Raises:
        ConfigurationError: an option has a value it cannot have.

    Example:
        >>> from fastapi import FastAPI
        >>> app = FastAPI()
        >>> afterword = Afterword(app, url="sqlite:///jobs.db")
    """

    waits_for_tasks: bool = False  # the pytest plugin sets it for every application

    def __init__(
        self,
        app: Starlette | None = None,
        url: str | None = None,
        *,
        concurrency: int = 40,
        order: Order = "sequential",
        on_failure: OnFailure = "stop",
        strict: bool = False,
        lease: float = 30.0,
        grace: float = 20.0,
        retention: float = 7 * 24 * 3600.0,
        worker: bool = True,
        queues: Sequence[str] | Mapping[str, int | None] = ("default",),
        retries: int | None = None,
        idempotent: bool | Whose = False,
        redact: Callable[[str], str] | None = None,
        store_timeout: float = 5.0,
        injectors: Sequence[Injector] = (),
        tasks: Sequence[ModuleType | Callable[..., Any]] = (),
        clock: Clock | None = None,
    ) -> None:
        check_choice("order", order, get_args(Order))
        check_choice("on_failure", on_failure, get_args(OnFailure))
        check_flag("strict", strict)
        check_flag("worker", worker)
        check_number("lease", lease, 0.5, 24 * 3600)
        check_number("retention", retention, 0, 100 * 365 * 24 * 3600)
        check_number("store_timeout", store_timeout, 0.01, 3600)
        check_callable("redact", redact)
        self.redact = redacting(redact)
        if not callable(idempotent):
            check_flag("idempotent", idempotent)
        rules = Rules(order=order, on_failure=on_failure, strict=strict, idempotent=idempotent)
        self._retries = None if retries is None else checked_retries(retries)
        self._queue_limits: Mapping[str, int | None] = {}
        self._clock = StoreClock(clock or Clock())
        self._lease, self._retention = float(lease), float(retention)
        self._set_worker(queues, concurrency, grace)
        self._app = app
        self.injection = injection_of(
            app, checked_injectors(injectors), lifespan_state=lambda: self.intake.lifespan_state
        )
        self._store = open_store(url or os.environ.get("AFTERWORD_URL") or DEFAULT_URL)
        self._group = GroupCommit(self._store, self._clock)
        self._group.on_open = self._set_clock
        self.keeper = Keeper(self._group, self._clock)
        self._transactions = Transactions(self._group)
        self._leases = Leases(self._group, self._lease, self._clock)
        self._worker: Worker | None = None
        self.intake = Intake(
            group=self._group,
            leases=self._leases,
            keeper=self.keeper,
            transactions=self._transactions,
            clock=self._clock,
            injection=self.injection,
            rules=rules,
            store_timeout=float(store_timeout),
            grace=self._grace,
            redact=self.redact,
            provide=lambda entry: _in_task().in_request(self, entry),
        )
        self.intake.works = worker and app is not None
        super().__init__(self.intake.add, self.intake.add_sync)
        self._planned: list[Planned] = []
        self._termination = Termination(self._stop_claiming)
        self._starting: asyncio.Lock | None = None
        self._started_late = False  # by a request: nothing tells that the application ends
        self.in_lifespan = False
        self.drained = True  # whether the last stop could end every attempt
        (application.include if app else application.include_script)(self._made_in())
        declare_all(tasks)
        in_child(self._forget)
        if app is not None:
            self._install(app)

    def _made_in(self) -> str:
        """The module that creates this object: neither this one, nor that of a subclass."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_locals.get("self") is self:
            frame = frame.f_back
        name = "" if frame is None else frame.f_globals.get("__name__", "")
        return application.stable_name(name)

    def _install(self, app: Starlette) -> None:
        if not isinstance(app, Starlette):
            raise ConfigurationError(
                "Afterword(app) takes a FastAPI or Starlette application, but this is a"
                f" {type(app).__qualname__}."
            )
        if app.middleware_stack is not None:
            raise ConfigurationError(
                "Afterword(app) must be called before the application serves its first request;"
                " put it right behind `app = FastAPI()`."
            )
        installed: list[object] = [each.cls for each in app.user_middleware]
        if AfterwordMiddleware in installed:
            raise ConfigurationError(
                "Afterword(app) was called twice for the same application; keep one."
            )
        # The last one is the innermost: later `add_middleware` calls go around it.
        app.user_middleware.append(Middleware(AfterwordMiddleware, host=self))
        self._wrap_lifespan(app)
        _applications.add(self)

    def _wrap_lifespan(self, app: Starlette) -> None:
        """Start with the application's lifespan also where that is entered by hand.

        An application that is mounted in another one gets no lifespan of a server: the other one's
        may enter `app.router.lifespan_context(app)`, which does not pass the middleware.
        """
        entered = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with entered(app) as state:
                if self.in_lifespan or self.started:
                    yield state
                    return
                self.intake.lifespan_state = state or {}
                await self.start()
                try:
                    yield state
                finally:
                    await self.stop()

        app.router.lifespan_context = lifespan

    def configure_worker(
        self,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        grace: float | None = None,
    ) -> None:
        """Run jobs in this process, also with `worker=False`; called before the start.

        `afterword worker` does it. What is None stays as the application has it.

        Raises:
            ConfigurationError: a value is one it cannot have.
        """
        self._set_worker(
            self._queues if queues is None else queues,
            self._concurrency if concurrency is None else concurrency,
            self._grace if grace is None else grace,
        )
        self.intake.works = True
        self.intake.grace = self._grace

    def _set_worker(
        self, queues: Sequence[str] | Mapping[str, int | None], concurrency: int, grace: float
    ) -> None:
        check_number("concurrency", concurrency, 1, 10_000, whole=True)
        check_number("grace", grace, 0, 24 * 3600)
        self._queues = checked_queues(queues)
        self._queue_limits = {**self._queue_limits, **queue_limits(queues)}
        self._concurrency, self._grace = concurrency, float(grace)

    @property
    def url(self) -> str:
        """Where the store is, without a password."""
        return self._store.url

    @property
    def pulse(self) -> int:
        """How often the store's thread has come by; it stands still when that thread hangs."""
        return self._leases.beats

    @property
    def lease(self) -> float:
        """Seconds after which the jobs of a process that hangs are given to another one."""
        return self._lease

    @property
    def started(self) -> bool:
        """True once jobs can be stored and run here, until the application ends."""
        return self.intake.started

    @property
    def grace(self) -> float:
        """Seconds a shutdown waits for running attempts."""
        return self._grace

    # ------------------------------------------------------------------ adding jobs

    def new_job(self, call: Call) -> NewJob:
        """The job of a call outside of a request; it is not added."""
        return self.intake.new_job(call)

    def every(
        self,
        expression: str | None = None,
        *,
        seconds: float | timedelta | None = None,
        timezone: str | None = None,
        name: str | None = None,
        missed: Missed = "one",
        limit: int = 100,
        grace: float = 60.0,
        overlap: Overlap = "allow",
        unique: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Run a function at times, by cron (`every("*/5 * * * *")`) or `every(seconds=30)`.

        Each occurrence becomes one job, however many processes have the schedule.

        Args:
            expression: cron, five fields.
            seconds: instead of it, how many seconds (or a timedelta) lie between two occurrences.
            timezone: whose clock the expression means. Default: UTC.
            name: which schedule of the store it is. Default: the function's, `module.qualname`.
            missed: what becomes of occurrences that nobody was there for: "skip", "one", "all".
            limit: of "all", how many at most.
            grace: seconds by which an occurrence may be late before it counts as missed.
            overlap: what becomes of an occurrence while the job of the one before has not ended:
                "allow" gives it a job all the same, "skip" none, "queue" one that waits.
            unique: the unique key of each job: while an unfinished job has it, none is added.
            args, kwargs: the arguments of each job.

        Raises:
            ConfigurationError: something of it cannot be.
        """
        rule = as_rule(expression, seconds=seconds, timezone=timezone)
        said = NO_OPTIONS if unique is None else CallOptions(unique=unique)

        def plan(func: F) -> F:
            require_callable(func)
            with contextlib.suppress(NotStorable):  # the start says so, with what it is about
                declare(func)
            self._planned.append(
                Planned(
                    func=func,
                    args=tuple(args),
                    kwargs=kwargs or {},
                    rule=rule,
                    name=name,
                    missed=missed,
                    limit=limit,
                    grace=grace,
                    injection=self.injection,
                    overlap=overlap,
                    said=said,
                )
            )
            return func

        return plan

    @overload
    def bind(self, connection: AsyncSession) -> Binding: ...

    @overload
    def bind(self, connection: Awaited) -> AsyncBinding: ...

    @overload
    def bind(self, connection: Synchronous) -> Binding: ...

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """`BackgroundTasks.bind` for code outside of a request."""
        return self.intake.bind(connection)

    async def job(self, job_id: str) -> Job[Any] | None:
        """A job by its id, as the store knows it now; None if it does not (any more)."""
        return self._handle(await self.keeper.record(job_id))

    def job_sync(self, job_id: str) -> Job[Any] | None:
        """`job` for threads and scripts."""
        refuse_event_loop("afterword.job_sync(id)", "await afterword.job(id)")
        return self._handle(self.keeper.record_sync(job_id))

    def _handle(self, record: JobRecord | None) -> Job[Any] | None:
        if record is None:
            return None
        return Job(record.id, record.task, keeper=self.keeper, record=record)

    def jobs_router(
        self,
        *,
        authorize: "Callable[..., Any] | Depends | None" = None,
        prefix: str = "/jobs",
        tags: Sequence[str] = ("jobs",),
        show_errors: "ShowErrors | None" = "message",
        retry_after: int = 1,
        include_in_schema: bool = True,
    ) -> "APIRouter":
        """The status API for FastAPI: look at a job, fetch its result, cancel it.

        Args:
            authorize: a dependency of all routes; it raises `HTTPException`, or returns False, to
                refuse, and returns anything else to grant (`request.access`). May only be left
                out in development: with `FastAPI(debug=True)`, or the environment variable
                `AFTERWORD_DEV=1`.
            prefix: where the routes are.
            tags: what they are listed under in the API's documentation.
            show_errors: what clients see of a task's error: the exception's type and "message",
                the "full" traceback, or None.
            retry_after: seconds after which a client may ask again. Default: 1.
            include_in_schema: whether they are in the API's documentation.

        Raises:
            ConfigurationError: anybody could use it, or an option has a value it cannot have.
            MissingExtra: FastAPI is not installed.

        Example:
            app.include_router(afterword.jobs_router(authorize=current_user))
        """
        from afterword.request.jobs_router import jobs_router

        debug = self._app is not None and self._app.debug
        return jobs_router(
            self.keeper,
            authorize=authorize,
            development=debug or os.environ.get("AFTERWORD_DEV") == "1",
            prefix=prefix,
            tags=tags,
            show_errors=show_errors,
            retry_after=retry_after,
            include_in_schema=include_in_schema,
        )

    def close(self) -> None:
        """End a script's use of the store; an application does this by itself."""
        self._group.stop()

    # ------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Open the store and start to run jobs; the application's lifespan calls it.

        Raises:
            DuplicateTask: two functions registered as tasks have one name.
            InjectionError: a registered task asks for something that it can never be given.
            StoreError: the store cannot be used.
        """
        require_asyncio()
        if self._starting is None or self._stranded:
            self._starting = asyncio.Lock()
        async with self._starting:  # two first requests may come at the same time
            if self.started and not self._stranded:
                return
            await self._leave_closed_loop()
            await self._start()

    async def start_late(self) -> None:
        """Start at a request: no lifespan has passed through here, but the event loop will live on.

        That is the case with a server that has no lifespan, and for an application that is mounted
        in another one.
        """
        await self.start()
        self._started_late = True

    async def _start(self) -> None:
        check_names()
        self.check_injection()
        scheduler = Scheduler(self._group, self._planned)
        await asyncio.to_thread(self._group.start)
        try:
            if self.intake.works:
                await asyncio.to_thread(self._leases.start, self._queues, self._concurrency)
            else:
                await asyncio.to_thread(self._leases.start)
        except StoreError:
            await asyncio.to_thread(self._group.stop)
            raise
        self._group.every(SET_CLOCK_EVERY, self._set_clock)
        upkeep.start(self._group, lease=self._lease, retention=self._retention)
        holdings.start(self._group, self._leases)
        if self.intake.works:
            if self._queue_limits:
                await asyncio.to_thread(self._limit_queues)
            self._worker = Worker(
                self._group,
                self._leases,
                concurrency=self._concurrency,
                queues=self._queues,
                redact=self.redact,
                retries=self._retries,
                injection=self.injection,
                natives=_in_task().natives_of(self),
                keeper=self.keeper,
                clock=self._clock,
            )
            # Pipes of other processes are opened there: files, which the loop must not wait for.
            await asyncio.to_thread(self._worker.listen)
            self._worker.start()
            self.keeper.on_cancel = self._worker.look_for_orders
            # Which queues are paused or limited is known before the first job can be offered.
            await asyncio.to_thread(self._group.run_blocking, calling(self._worker.look_for_orders))
            if self._queue_limits:
                with contextlib.suppress(StoreError):  # they hold here; elsewhere a moment later
                    await asyncio.to_thread(self._store.wait_noted, self.intake.store_timeout)
        if self._planned:
            await asyncio.to_thread(scheduler.start)
        self._loop = asyncio.get_running_loop()
        self._termination.listen()
        self.intake.worker, self.intake.stopping_since = self._worker, None
        self.intake.started = True
        telemetry.started(
            self._store.url,
            self._store.durability,
            self._leases.worker,
            self._concurrency if self.intake.works else None,
        )

    def check_injection(self) -> None:
        """Refuse registered tasks that ask for something they can never be given.

        `start` does it. A task that another application of this process can run is not refused; one
        that asks for a framework which this application does not use may be another's, and a line
        in the log says so.

        Raises:
            InjectionError: with all of them, each with the parameter and the way out.
        """
        others = [each.injection for each in _applications if each is not self]
        refused = refused_by_all([self.injection, *others], registered())
        errors = [each for each in refused.values() if not isinstance(each, NoContainer)]
        for name, error in refused.items():
            if isinstance(error, NoContainer):
                telemetry.not_injectable(name, str(error))
        if errors:
            raise InjectionError("\n".join(map(str, errors)))

    def _set_clock(self, store: Store) -> None:
        fast = self._clock.set_by(store.now)
        if abs(fast) > WRONG_CLOCK:
            telemetry.clock_differs(fast, self._store.url)

    def _stop_claiming(self) -> None:
        """A signal wants the process to end: what runs may end, and nothing else starts."""
        self.intake.stopping_since = self.intake.stopping_since or self.intake.monotonic()
        if self._started_late:  # nothing else will tell: what is cut off from now on is no loss
            worker = self._leases.worker
            self._group.submit(calling(lambda store: store.retire(worker)))
        if self._worker is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._worker.stop_claiming)

    def _limit_queues(self) -> None:
        self._group.run_blocking(calling(lambda store: store.limit(self._queue_limits)))

    async def stop(self) -> None:
        """Drain the worker and close the store; harmless when stopped."""
        if not self.started:
            return
        if self._stranded:
            if not await self._leave_closed_loop():
                await asyncio.to_thread(self._group.stop)
            return
        self.intake.started = False
        self.intake.stopping_since = self.intake.stopping_since or self.intake.monotonic()
        await self._stop_mounted()
        self._termination.stop()
        await self._tell_store(self._leases.retire)  # whatever is cut off from now on is no loss
        await self.intake.wait_unfinished(self._grace)
        left = await self._worker.drain(self._grace) if self._worker else 0
        self.drained = not left
        telemetry.stopped(self._leases.worker, left)
        self._group.stop_timers()  # from here on the lease is not renewed
        # A thread cannot be stopped. Its job is not given away while it may still run: it goes with
        # the lease, or with the lock when the process ends; until then its outcome is welcome.
        if not left:
            await self._tell_store(self._leases.stop)
            await asyncio.to_thread(self._group.stop)
        self._worker = self.intake.worker = self.keeper.on_cancel = None
        self._starting, self._started_late = None, False

    async def _stop_mounted(self) -> None:
        """Stop those that requests have started in this event loop: nothing else tells them."""
        for each in list(_applications):
            if each is not self and each._started_late and each._loop is self._loop:
                await each.stop()

    @property
    def _stranded(self) -> bool:
        """Whether the event loop of the last start was closed without a stop."""
        return self.started and self._loop.is_closed()

    async def _leave_closed_loop(self) -> int:
        """What `stop` would have done, as far as it can be done now; harmless if it was done.

        Returns:
            How many attempts could not be ended, because they go on in threads.
        """
        if not self._stranded:
            return 0
        self.intake.forget()
        self._termination.stop()
        await self._tell_store(self._leases.retire)
        left = await asyncio.to_thread(self._worker.leave_closed_loop) if self._worker else 0
        self.drained = not left
        self._group.stop_timers()
        if not left:  # as in `stop`
            await self._tell_store(self._leases.stop)
        self._worker = self.keeper.on_cancel = None
        self._started_late = False
        return left

    async def _tell_store(self, farewell: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(farewell)
        except (
            StoreError
        ) as error:  # whoever recovers next will find our lock free, or our lease over
            telemetry.step_failed(error)

    def _forget(self) -> None:
        """In a forked child: not started, whatever the parent is."""
        self.intake.forget()
        self._worker = None


def _in_task() -> Any:
    """What tasks are given of their application; it knows this module."""
    from afterword import in_task

    return in_task
