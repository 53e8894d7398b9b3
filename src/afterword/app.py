"""`Afterword`: the façade, with the public methods; `runtime` has the parts that it starts."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from inspect import signature
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Never, Protocol, TypeVar, get_args, overload
from weakref import WeakSet

from starlette.applications import Starlette
from starlette.middleware import Middleware

from afterword import telemetry
from afterword.admin.duration import show_span
from afterword.admin.running import add_by
from afterword.client.call import Call, ScriptTaskAdder
from afterword.client.handle import Job
from afterword.client.named_call import checked, parameters_at_hand
from afterword.client.operation import calling
from afterword.errors import (
    ConfigurationError,
    InjectionError,
    NoContainer,
    NotStorable,
)
from afterword.injection.injectors import injection_of
from afterword.injection.needs import Injection, Injector, checked_injectors, native, refused_by_all
from afterword.model.audit import Actor
from afterword.model.checks import (
    check_callable,
    check_choice,
    check_flag,
    check_number,
    checked_queues,
    queue_limits,
)
from afterword.model.clock import Clock
from afterword.model.fork import in_child
from afterword.model.job import JobRecord, NewJob
from afterword.model.modules import stable_name
from afterword.model.outcome import redacting
from afterword.model.threads import refuse_event_loop
from afterword.request import old_imports
from afterword.request.bind import AsyncBinding, Binding
from afterword.request.idempotency import Whose
from afterword.request.intake import OnFailure, Order, Rules
from afterword.request.middleware import AfterwordMiddleware
from afterword.runtime import Runtime
from afterword.schedules.recurrence import as_rule
from afterword.schedules.schedule import Missed, Overlap
from afterword.schedules.scheduler import Planned, ScheduleAdder
from afterword.store.opening import open_store, url_in_child
from afterword.store.protocol import Added, Store
from afterword.tasks import application
from afterword.tasks.mistakes import refuse_of_schedule, require_known
from afterword.tasks.options import (
    NO_OPTIONS,
    CallOptions,
    FailureCall,
    TaskOptionsDict,
    check_failure_call,
)
from afterword.tasks.registry import check_names, declare, declare_all, registered, require_callable
from afterword.tasks.retry import checked_retries
from afterword.telemetry.tracing import TRACE_WITHIN
from afterword.transactions.connections.kinds import AsyncSession, Awaited, Synchronous
from afterword.worker.services import WorkerSettings

if TYPE_CHECKING:
    from fastapi import APIRouter
    from fastapi.params import Depends
    from starlette.requests import Request

    from afterword.dashboard.application import Dashboard
    from afterword.request.job_status import ShowErrors

C = TypeVar("C", bound=FailureCall)

DEFAULT_URL = "sqlite:///afterword.db"
SET_CLOCK_EVERY = 30.0  # seconds
WRONG_CLOCK = 5.0  # seconds by which a host's clock may differ from the store's without a warning

RETRIES_AT_ONCE = 100  # of a job, under the pytest plugin

_applications: "WeakSet[Afterword]" = WeakSet()  # of this process


class RunOfTests(Protocol):
    """The run of the pytest plugin, which gives each `Afterword` a store and the clock of tests."""

    holds_jobs: bool

    @property
    def clock(self) -> Clock:
        """The clock of its stores, which tests may move."""

    @property
    def advice(self) -> str:
        """A sentence for those whose transactions such a store cannot take part in."""

    def store_for(self, afterword: "Afterword", url: str) -> Store:
        """Return the store, not yet opened, that takes the place of the one of this URL."""

    async def wait_for(self, afterword: "Afterword", ids: Sequence[str]) -> None:
        """Wait until these jobs have ended, except those that cannot run now."""


@native()
class Afterword(ScriptTaskAdder):
    """Durable background tasks for one application.

    Args:
        app: a FastAPI or Starlette application; None for a script that only adds jobs, or if
            `install` gets the application later.
        url: the store. Default: the environment variable `AFTERWORD_URL`, else
            `sqlite:///afterword.db`.
        concurrency: the number of attempts that may run at the same time in this process. Default:
            40.
        order: "sequential" runs the jobs of one request one after the other, in the order in which
            they were added; "concurrent" makes them independent of each other.
        on_failure: the effect of a failed job on the later ones of its request: "stop" cancels
            them, "continue" does not.
        strict: refuse calls that cannot be stored, and routes with FastAPI's or Starlette's own
            background tasks. Default: they run in their request, with a warning.
        lease: seconds after which the jobs of a hanging process are given to another one. (The
            death of a process is noticed at once where the store can detect it.) Default: 30.
        grace: seconds for which a shutdown waits for running attempts before it releases them.
            Default: 20.
        retention: seconds for which finished jobs are kept. Default: 7 days.
        worker: False only stores jobs here; other processes run them.
        queues: the queues that the worker serves: the first has priority, the others get the
            remaining slots. As a mapping, {"mail": 5, "reports": 1}, it also limits the jobs of a
            queue that run at the same time, over all processes (None: no limit). Default:
            "default".
        retries: how often a job is retried after errors, for tasks without `retries`. Default: 0.
        idempotent: use a request's `Idempotency-Key` header as the unique key of its jobs, so that
            a client that repeats its request gets the same jobs. Pass a function of the request
            that returns the owner of the key, such as the user's name, so that no user can reach
            another's jobs. If it returns None, the header is ignored. With True, only method and
            path separate the keys.
        redact: takes the text of a task's error before it is stored or logged, and returns the text
            to keep. Default: all of it, up to 16 KiB.
        log_lines: the number of log lines that are stored with an attempt: the last ones that
            loggers write during it (up to 16 KiB, after `redact`). Default: 0, none.
        trace_within: seconds after the job was added in which an attempt's OpenTelemetry span still
            belongs to the trace that added it. Later attempts begin a trace of their own, with a
            link. Default: 300.
        store_timeout: seconds after which a request whose jobs cannot be stored is answered with
            503. Default: 5.
        injectors: fill the parameters of tasks, in addition to those that are found automatically
            (FastAPI's `Depends`; Wireup and dishka, if the application is set up for them).
        tasks: modules whose functions stored jobs may call, and single functions, in addition to
            the application's own modules (see `afterword.tasks.application`).

    Raises:
        ConfigurationError: an option has an invalid value.

    Example:
        >>> from fastapi import FastAPI
        >>> app = FastAPI()
        >>> afterword = Afterword(app, url="sqlite:///jobs.db")
    """

    test_run: "RunOfTests | None" = None  # the pytest plugin sets it for every application

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
        log_lines: int = 0,
        trace_within: float = TRACE_WITHIN,
        store_timeout: float = 5.0,
        injectors: Sequence[Injector] = (),
        tasks: Sequence[ModuleType | Callable[..., Any]] = (),
        clock: Clock | None = None,
        **unknown: Never,
    ) -> None:
        _refuse(unknown)
        check_choice("order", order, get_args(Order))
        check_choice("on_failure", on_failure, get_args(OnFailure))
        check_flag("strict", strict)
        check_flag("worker", worker)
        check_number("lease", lease, 0.5, 24 * 3600)
        check_number("retention", retention, 0, 100 * 365 * 24 * 3600)
        check_number("store_timeout", store_timeout, 0.01, 3600)
        check_callable("redact", redact)
        self._redacts = redact is not None
        if not callable(idempotent):
            check_flag("idempotent", idempotent)
        check_number("grace", grace, 0, 24 * 3600)
        self._injectors = checked_injectors(injectors)
        self.injection = self._injection_of(None)
        url = url or os.environ.get("AFTERWORD_URL") or DEFAULT_URL
        test_run = self.test_run
        store = open_store(url_in_child(url) if test_run is None else url)
        if test_run is not None:
            store, clock = test_run.store_for(self, url), test_run.clock
        self.runtime = Runtime(
            store,
            WorkerSettings(
                concurrency=concurrency,
                queues=checked_queues(queues),
                redact=redacting(redact),
                retries=None if retries is None else checked_retries(retries),
                retries_at_once=0 if test_run is None else RETRIES_AT_ONCE,
                log_lines=log_lines,
                trace_within=trace_within,
            ),
            queue_limits=queue_limits(queues),
            clock=clock or Clock(),
            lease=float(lease),
            retention=float(retention),
            grace=float(grace),
            store_timeout=float(store_timeout),
            rules=Rules(order=order, on_failure=on_failure, strict=strict, idempotent=idempotent),
            injection=self.injection,
            advice="" if test_run is None else test_run.advice,
            kind=Afterword,
            owner=self,
            check=self._check,
        )
        self.inquiries, self.intake = self.runtime.inquiries, self.runtime.intake
        self.intake.in_test = test_run is not None
        self.intake.holds_jobs = test_run is not None and test_run.holds_jobs
        super().__init__(self.intake.add, self.intake.add_sync)
        self._worker_wanted = worker
        self.in_lifespan = False
        self._made_in = self._calling_module()
        if app is None:
            application.include_script(self._made_in)
        declare_all(tasks)
        in_child(self.runtime.forget)
        if app is not None:
            self.install(app)

    def _calling_module(self) -> str:
        """Return the module that calls this object: neither this one, nor that of a subclass."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_locals.get("self") is self:
            frame = frame.f_back
        name = "" if frame is None else frame.f_globals.get("__name__", "")
        return stable_name(name)

    def install(self, app: Starlette) -> None:
        """Serve an application that is created later, as `Afterword(app)` does.

        Modules with tasks, schedules and routes can import an `Afterword()` before there is an
        application. A factory may be called several times, for instance in tests; one of its
        applications can be started at a time.

        Args:
            app: a FastAPI or Starlette application that has served no request yet.

        Raises:
            ConfigurationError: it is something else, it has an Afterword, or the application that
                was installed before is running.

        Example:
            >>> from fastapi import FastAPI
            >>> afterword = Afterword(url="sqlite:///jobs.db")
            >>> def create_app() -> FastAPI:
            ...     app = FastAPI()
            ...     afterword.install(app)
            ...     return app
        """
        self._require_installable(app)
        self.serve(app)
        for module in (self._made_in, self._calling_module()):
            application.include(module)
        self.intake.works = self.intake.works or self._worker_wanted
        # The last middleware is the innermost: later `add_middleware` calls wrap it.
        app.user_middleware.append(Middleware(AfterwordMiddleware, host=self))
        self._wrap_lifespan(app)
        _applications.add(self)

    def serve(self, app: Starlette) -> None:
        """Use the overrides and containers of this application from now on.

        Raises:
            ConfigurationError: another application with this Afterword is running.
        """
        if app is self.runtime.app:
            return
        if self.started and not self.runtime.is_stranded:
            raise ConfigurationError(
                "An Afterword serves one application at a time, but another one is running. Stop"
                " it first, or give each its own: Afterword(app)."
            )
        self.runtime.app = app
        self.injection.become(self._injection_of(app))

    def _injection_of(self, app: Starlette | None) -> Injection:
        return injection_of(app, self._injectors, lifespan_state=lambda: self.intake.lifespan_state)

    def _require_installable(self, app: Starlette) -> None:
        if not isinstance(app, Starlette):
            raise ConfigurationError(
                "Afterword(app) needs a FastAPI or Starlette application, but this is a"
                f" {type(app).__qualname__}. Pass the application itself."
            )
        if app.middleware_stack is not None:
            raise ConfigurationError(
                "Afterword(app) must be called before the application starts, but this one is"
                " starting (its lifespan is too late) or has started. Put the call right after"
                " `app = FastAPI()`."
            )
        installed: list[object] = [each.cls for each in app.user_middleware]
        if AfterwordMiddleware in installed:
            raise ConfigurationError(
                "Afterword(app) must be called once per application, but this is the second call."
                " Keep one."
            )

    def _wrap_lifespan(self, app: Starlette) -> None:
        """Start with the application's lifespan even if that is entered by hand.

        A server does not run the lifespan of an application that is mounted in another one. The
        lifespan of the other may enter `app.router.lifespan_context(app)`, which bypasses the
        middleware.
        """
        entered = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            self.serve(app)
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
        before_start: Callable[[], object] | None = None,
    ) -> None:
        """Run jobs in this process, even with `worker=False`; call it before the start.

        `afterword worker` calls it. None keeps the application's value.

        Args:
            before_start: called in a thread after the start-up of the application, before the first
                job runs.

        Raises:
            ConfigurationError: a value is invalid.
        """
        runtime = self.runtime
        if grace is not None:
            check_number("grace", grace, 0, 24 * 3600)
            self.intake.grace = float(grace)
        if queues is not None:
            runtime.queue_limits = {**runtime.queue_limits, **queue_limits(queues)}
        now = runtime.settings
        runtime.settings = replace(
            now,
            queues=now.queues if queues is None else checked_queues(queues),
            concurrency=now.concurrency if concurrency is None else concurrency,
        )
        self.intake.works = True
        runtime.before_start = before_start or runtime.before_start

    @property
    def url(self) -> str:
        """The URL of the store, without its password."""
        return self.runtime.store.url

    @property
    def pulse(self) -> int:
        """A counter of the store's thread, which stops when that thread hangs."""
        return self.runtime.leases.beats

    @property
    def lease(self) -> float:
        """Seconds after which the jobs of a hanging process are given to another one."""
        return self.runtime.lease

    @property
    def started(self) -> bool:
        """Return True while jobs can be stored and run here: from the start until the end."""
        return self.intake.started

    @property
    def grace(self) -> float:
        """Seconds for which a shutdown waits for running attempts."""
        return self.intake.grace

    @property
    def drained(self) -> bool:
        """True if the last stop could end every attempt."""
        return self.runtime.drained

    @property
    def redact(self) -> Callable[[str], str]:
        """The function that removes secrets from errors."""
        return self.runtime.settings.redact

    # ------------------------------------------------------------------ adding jobs

    def new_job(self, call: Call) -> NewJob:
        """Make the job of a call outside of a request, without adding it."""
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
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **unknown: Never,
    ) -> ScheduleAdder:
        """Schedule a function by cron, `every("*/5 * * * *")`, or by interval, `every(seconds=30)`.

        Each occurrence becomes one job, for any number of processes. Use it as a decorator, or as
        `every(...).add_task(func, *args, **kwargs)`, which type checkers check.

        Args:
            expression: a cron expression of five fields.
            seconds: instead of it, the seconds (or a timedelta) between two occurrences.
            timezone: the time zone of the expression. Default: UTC.
            name: the name of the schedule in the store. Default: that of the function,
                `module.qualname`.
            missed: the treatment of occurrences while no process was running: "skip" gives them no
                job, "one" one job for the latest, "all" a job for each.
            limit: the number of jobs that "all" creates at once, at most.
            grace: seconds by which an occurrence may be late before it counts as missed.
            overlap: the treatment of an occurrence while the job of the previous one has not ended:
                "allow" gives it a job, "skip" none, "queue" a job that waits for the other.
            unique: the unique key of each job: none is added while an unfinished job has it.
            args, kwargs: the arguments of each job, for the decorator.
            unknown: refused, with the line that would be right.

        Raises:
            ConfigurationError: one of them has an invalid value, or does not exist.

        Example:
            @afterword.every("0 3 * * *", timezone="Europe/Berlin")
            def clean_up() -> None: ...

            afterword.every("0 8 * * 1", name="weekly").add_task(send_report, "week")
        """
        known = [*signature(Afterword.every).parameters][2:-1]
        refuse_of_schedule(unknown, known, TaskOptionsDict.__annotations__)
        rule = as_rule(expression, seconds=seconds, timezone=timezone)
        call_options = NO_OPTIONS if unique is None else CallOptions(unique=unique)

        def plan(call: Call) -> None:
            func = call.func
            require_callable(func)
            with contextlib.suppress(NotStorable):  # the start raises it, with more context
                declare(func)
            self.runtime.planned.append(
                Planned(
                    func=func,
                    args=call.args,
                    kwargs=call.kwargs,
                    rule=rule,
                    name=name,
                    missed=missed,
                    limit=limit,
                    grace=grace,
                    injection=self.injection,
                    overlap=overlap,
                    call_options=call_options,
                )
            )

        return ScheduleAdder(plan, args, kwargs or {})

    def on_failure(self, func: C) -> C:
        """Call a function, `def` or `async def`, when a job has failed for good.

        A job that waits for another attempt has not failed yet. The function is called after the
        failure is stored, and cannot change the outcome. An error in it is logged, and after 5
        seconds the call is given up. If the process dies before the call, it is not called.

        Args:
            func: takes the job, the exception, and the number of the attempt.

        Raises:
            ConfigurationError: it cannot be called with these.

        Example:
            @afterword.on_failure
            async def alert(job: JobRecord, error: BaseException, attempt: int) -> None:
                await slack.post(f"{job.task} failed: {error!r}, see afterword show {job.id}")
        """
        check_failure_call(func)
        self.runtime.failures.calls.append(func)
        return func

    @overload
    def bind(self, connection: AsyncSession) -> Binding: ...

    @overload
    def bind(self, connection: Awaited) -> AsyncBinding: ...

    @overload
    def bind(self, connection: Synchronous) -> Binding: ...

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """Bind a connection or session, as `BackgroundTasks.bind` does, outside of a request."""
        return self.intake.bind(connection)

    async def job(self, job_id: str) -> Job[Any] | None:
        """Look up a job by its id; None if the store does not have it (any more)."""
        return self._handle(await self.inquiries.record(job_id))

    def job_sync(self, job_id: str) -> Job[Any] | None:
        """Look up a job as `job` does, in threads and scripts."""
        refuse_event_loop("afterword.job_sync(id)", "await afterword.job(id)")
        return self._handle(self.inquiries.record_sync(job_id))

    def _handle(self, record: JobRecord | None) -> Job[Any] | None:
        if record is None:
            return None
        return Job(record.id, record.task, inquiries=self.inquiries, record=record)

    def jobs_router(
        self,
        *,
        authorize: "Callable[..., Any] | Depends | None" = None,
        prefix: str = "/jobs",
        tags: Sequence[str] = ("jobs",),
        show_errors: "ShowErrors | None" = "message",
        retry_after: int = 1,
        ask_fleets: bool = False,
        include_in_schema: bool = True,
    ) -> "APIRouter":
        """Make the status API for FastAPI: routes to look at a job, fetch its result, cancel it.

        Args:
            authorize: a dependency of all routes. Raising `HTTPException` or returning False denies
                access; returning anything else grants it (`request.access`). It may be left out
                only in development: with `FastAPI(debug=True)`, or the environment variable
                `AFTERWORD_DEV=1`.
            prefix: the path prefix of the routes.
            tags: the tags of the routes in the API's documentation.
            show_errors: the part of a task's error that clients see: the exception's type and
                "message", the "full" traceback, or None.
            retry_after: seconds after which a client may ask again. Default: 1.
            ask_fleets: True shows a job that was handed over in the state that it has in its
                fleet, if that keeps results.
            include_in_schema: True lists the routes in the API's documentation.

        Raises:
            ConfigurationError: `authorize` is missing, or an option has an invalid value.
            MissingExtra: FastAPI is not installed.

        Example:
            app.include_router(afterword.jobs_router(authorize=current_user))
        """
        from afterword.request.jobs_router import jobs_router

        debug = self.runtime.app is not None and self.runtime.app.debug
        return jobs_router(
            self.inquiries,
            authorize=authorize,
            development=debug or os.environ.get("AFTERWORD_DEV") == "1",
            prefix=prefix,
            tags=tags,
            show_errors=show_errors,
            retry_after=retry_after,
            ask_fleets=ask_fleets,
            include_in_schema=include_in_schema,
        )

    def dashboard(
        self,
        *,
        authorize: "Callable[..., Any] | Depends | None" = None,
        hosts: Sequence[str] | None = None,
        readers_see_arguments: bool = False,
        trace_url: str | None = None,
    ) -> "Dashboard":
        """Make the dashboard: an ASGI application to be mounted, which shows this store.

        Args:
            authorize: decides about each request: a function of the request (`def` or `async def`),
                or a FastAPI dependency. It returns None (no access), "read", "operate", or a set of
                permissions (`dashboard.permissions`), or with the name of the user, for the audit,
                a `dashboard.Person`. It may raise `HTTPException`, for instance to send people to
                the log-in page. It may be left out only in development: with
                `FastAPI(debug=True)`, or the environment variable `AFTERWORD_DEV=1`; then only
                clients on this machine are answered.
            hosts: the host names by which the dashboard may be reached. Default: any.
            readers_see_arguments: True shows arguments, results and logs of jobs to everyone with
                "read". Default: they need the permission "arguments", which "operate" includes.
            trace_url: the page of a trace, to which jobs link, such as
                "https://traces.example.org/trace/{trace_id}". Default: no link.

        Raises:
            ConfigurationError: `authorize` is missing, or an option has an invalid value.
            MissingExtra: a package of `afterword[dashboard]` is not installed.

        Example:
            app.mount("/afterword", afterword.dashboard(authorize=staff))
        """
        from afterword.dashboard import Source, dashboard

        debug = self.runtime.app is not None and self.runtime.app.debug
        return dashboard(
            Source(
                store=self.inquiries.store,
                add=self._add_at_once,
                clock=self.runtime.clock,
                tasks=registered,
                settings=self._settings,
                new_job=lambda task, text, call: checked(task, text, self.injection, call),
                parameters=lambda task: parameters_at_hand(task, self.injection),
            ),
            authorize=authorize,
            hosts=hosts,
            readers_see_arguments=readers_see_arguments,
            trace_url=trace_url,
            development=debug or os.environ.get("AFTERWORD_DEV") == "1",
        )

    def _settings(self) -> dict[str, str]:
        """Return the settings in words, for people; none of them is secret."""
        runtime, rules = self.runtime, self.intake.rules
        settings, limits = runtime.settings, runtime.queue_limits
        kept = settings.log_lines
        queues = (
            f"{name} (at most {limits[name]:,} at a time)" if limits.get(name) else name
            for name in settings.queues
        )
        return {
            "runs jobs": "yes" if runtime.works else "no, it only stores them",
            "queues": ", ".join(queues),
            "concurrency": f"{settings.concurrency:,}",
            "order": rules.order,
            "on failure": rules.on_failure,
            "retries": f"{settings.retries or 0:,}, unless a task has its own",
            "strict": "yes" if rules.strict else "no",
            "idempotent": "yes" if rules.idempotent else "no",
            "redact": "yes" if self._redacts else "no",
            "log lines": f"{kept:,} of each attempt" if kept else "none",
            "lease": show_span(runtime.lease),
            "grace": show_span(self.intake.grace),
            "retention": show_span(runtime.retention),
            "store timeout": show_span(self.intake.store_timeout),
        }

    def metrics(self, *, authorize: "Callable[[Request], Any] | None" = None) -> Starlette:
        """Make an ASGI application to be mounted, with metrics for Prometheus and autoscalers.

        `/` is a page for Prometheus; `/queues` has the depth and the age of the queues as JSON, and
        `/queues/NAME` those of one queue. The numbers cover the whole store, so it is enough to
        read them from one process.

        Args:
            authorize: a function of the request, `def` or `async def`. It returns True to grant
                access, and returns False or raises an HTTPException to deny it. Default: access for
                all clients. The pages have names of tasks, queues and schedules, and numbers, but
                no single jobs.

        Raises:
            MissingExtra: prometheus-client is not installed.

        Example:
            app.mount("/metrics", afterword.metrics())
        """
        from afterword.exporter.application import exporter
        from afterword.exporter.ended import EndedJobs

        ended = EndedJobs(self.inquiries.store, self.runtime.clock.now)
        gauges = self.runtime.gauges(self.inquiries.store)
        return exporter(gauges, ended, authorize=authorize, in_worker=True)

    def _add_at_once(self, job: NewJob, by: Actor) -> Added:
        """Store a job that a person adds; blocks."""
        self.inquiries.store()
        added: Added = self.runtime.group.run_blocking(
            calling(lambda store: add_by(store, job, by))
        )
        return added

    def close(self) -> None:
        """Close the store, at the end of a script; an application does this by itself."""
        self.runtime.group.stop()

    # ------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Open the store and start to run jobs; the application's lifespan calls it.

        Raises:
            DuplicateTask: two functions registered as tasks have the same name.
            InjectionError: a registered task has a parameter that can never be injected.
            ConfigurationError: with `strict`, if a route uses FastAPI's or Starlette's own
                background tasks.
            StoreError: the store cannot be used.
        """
        await self.runtime.start()

    async def start_late(self) -> None:
        """Start at a request, if the lifespan has not run but the event loop will live on.

        This happens with a server without lifespan support, and for an application that is mounted
        in another one.
        """
        await self.runtime.start_late()

    async def stop(self) -> None:
        """Drain the worker and close the store; no-op if it is stopped."""
        await self.runtime.stop()

    def _check(self) -> None:
        check_names()
        self.check_injection()
        self._check_imports()

    def check_injection(self) -> None:
        """Refuse registered tasks with parameters that can never be injected; `start` calls it.

        A task is accepted if another application of this process can run it. A task that needs a
        framework which is not set up here may belong to another process: it is only logged.

        Raises:
            InjectionError: lists all such tasks, each with its parameter and the way out.
        """
        others = [each.injection for each in _applications if each is not self]
        refused = refused_by_all([self.injection, *others], registered())
        errors = [each for each in refused.values() if not isinstance(each, NoContainer)]
        for name, error in refused.items():
            if isinstance(error, NoContainer):
                telemetry.not_injectable(name, str(error))
        if errors:
            raise InjectionError("\n".join(map(str, errors)))

    def _check_imports(self) -> None:
        """Warn of routes whose background tasks are not Afterword's; refuse them if strict."""
        found = [] if self.runtime.app is None else old_imports.find(self.runtime.app)
        refused = [each for each in found if each.is_own and self.intake.rules.strict]
        if refused:
            raise ConfigurationError("\n".join(map(str, refused)))
        for each in found:
            telemetry.old_import(each.place, str(each))

    async def wait_for_tasks(self, ids: Sequence[str]) -> None:
        """Wait for these jobs, but for those that cannot run now, and for their failure calls.

        No-op unless it runs under the pytest plugin. If a test starts the jobs itself, only wait
        until it can: until they are released.
        """
        if self.test_run is None:
            return
        if self.intake.waits_for_tasks:
            await self.test_run.wait_for(self, ids)
        await self.runtime.wait_reported()


def _refuse(unknown: Mapping[str, object]) -> None:
    """Refuse options that do not exist, with the right line; see `require_known`."""
    for name, value in unknown.items():
        known = [*signature(Afterword).parameters][:-2]  # neither the clock nor the unknown ones
        shown = value if isinstance(value, bool) else "..."  # others may be secret
        require_known([name], known, f"Afterword(app, {{}}={shown})", (), "")
