"""The runtime: the parts of an `Afterword` that start and stop with its application.

It owns the store and the store's thread, the lease, the worker, the scheduler and the upkeep. It
can end in three ways: with the application's lifespan (`stop`); with an event loop that is closed
without a lifespan (`_leave_closed_loop`); and by a signal only (`_stop_claiming`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from weakref import WeakSet

from starlette.applications import Starlette

from afterword import telemetry
from afterword.client import holdings, upkeep
from afterword.client.failures import Failures
from afterword.client.group_commit import GroupCommit
from afterword.client.inquiries import Inquiries
from afterword.client.leases import Leases
from afterword.client.operation import calling
from afterword.errors import NotStarted, StoreError
from afterword.exporter.gauges import Gauges, Slots
from afterword.in_task import builtins_of, in_request
from afterword.injection.needs import Injection
from afterword.model.clock import Clock, StoreClock
from afterword.process.termination import Termination
from afterword.request.intake import Intake, Rules
from afterword.request.middleware import require_asyncio
from afterword.schedules.scheduler import Planned, Scheduler
from afterword.store.protocol import Store
from afterword.telemetry import listeners, metrics
from afterword.transactions.statements import Transactions
from afterword.worker.services import WorkerSettings
from afterword.worker.worker import Worker

SET_CLOCK_EVERY = 30.0  # seconds
WRONG_CLOCK = 5.0  # seconds by which a host's clock may differ from the store's without a warning

_runtimes: "WeakSet[Runtime]" = WeakSet()  # of this process


class Runtime:
    """The running parts of one `Afterword`.

    Args:
        store: not yet opened.
        settings: of the worker.
        queue_limits: the number of jobs of a queue that may run at the same time, over all
            processes.
        clock: of this host.
        lease, retention, grace, store_timeout: see `Afterword`.
        rules: for the jobs of a request.
        injection: of the application.
        advice: a sentence for those whose transactions the store cannot take part in.
        kind: the class `Afterword`, by which tasks ask for it.
        owner: the `Afterword`.
        check: called at the start, before anything has begun; raises if the application cannot run.
    """

    def __init__(
        self,
        store: Store,
        settings: WorkerSettings,
        *,
        queue_limits: Mapping[str, int | None],
        clock: Clock,
        lease: float,
        retention: float,
        grace: float,
        store_timeout: float,
        rules: Rules,
        injection: Injection,
        advice: str,
        kind: type,
        owner: object,
        check: Callable[[], None],
    ) -> None:
        self.store, self.clock = store, StoreClock(clock)
        self.lease, self.retention = lease, retention
        self.group = GroupCommit(store, self.clock)
        self.group.on_open = self._set_clock
        self.inquiries = Inquiries(self.group, self.clock)
        self.failures = Failures(self.inquiries, settings.redact)
        self.leases = Leases(self.group, lease, self.clock)
        self.settings = replace(settings, on_failed=self.failures.report)
        self.queue_limits = queue_limits
        self.intake = Intake(
            group=self.group,
            leases=self.leases,
            inquiries=self.inquiries,
            transactions=Transactions(self.group, advice),
            clock=self.clock,
            injection=injection,
            rules=rules,
            store_timeout=store_timeout,
            grace=grace,
            redact=settings.redact,
            on_failed=self.failures.report,
            provide=lambda entry: in_request(self.intake, kind, entry),
        )
        self.intake.owner = owner
        self.planned: list[Planned] = []  # the schedules that the code has declared so far
        self.app: Starlette | None = None  # that is served
        self.worker: Worker | None = None
        self.drained = True  # True if the last stop could end every attempt
        self.before_start: Callable[[], object] | None = None  # called in a thread, at the start
        self._kind, self._check = kind, check
        self._scheduler: Scheduler | None = None
        self._gauges: Gauges | None = None  # read by OpenTelemetry
        self._termination = Termination(self._stop_claiming)
        self._starting: asyncio.Lock | None = None
        self._started_late = False  # by a request: nothing announces the application's end
        _runtimes.add(self)

    @property
    def works(self) -> bool:
        """True if it runs jobs here once it has started; under the pytest plugin, always."""
        return self.intake.works or self.intake.in_test

    @property
    def serving_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it runs jobs; None if it is not started."""
        return self._loop if self.intake.started and not self.is_stranded else None

    @property
    def is_stranded(self) -> bool:
        """True if the event loop of the last start was closed without a stop."""
        return self.intake.started and self._loop.is_closed()

    def gauges(self, store: Callable[[], Store]) -> Gauges:
        """Make the gauges of this process and its store."""

        def slots() -> Slots | None:
            worker = self.worker
            return None if worker is None else Slots(worker.concurrency, worker.busy)

        return Gauges(store, self.clock.now, slots)

    def new_scheduler(self) -> Scheduler:
        """Make the scheduler of the schedules that the application has declared so far."""
        scheduler = Scheduler(self.group, self.planned)
        scheduler.held = self.intake.holds_jobs
        return scheduler

    # ------------------------------------------------------------------ start

    async def start(self) -> None:
        """Open the store and start to run jobs; no-op if that has happened in this event loop."""
        require_asyncio()
        if self._starting is None or self.is_stranded:
            self._starting = asyncio.Lock()
        async with self._starting:  # two first requests may come at the same time
            if self.intake.started and not self.is_stranded:
                return
            await self._leave_closed_loop()
            await self._start()

    async def start_late(self) -> None:
        """Start at a request, if the lifespan has not run but the event loop will live on."""
        await self.start()
        self._started_late = True

    async def _start(self) -> None:
        self._check()
        if self.before_start is not None:
            await asyncio.to_thread(self.before_start)
        listeners.start(self, self.app)
        scheduler = self._scheduler = self.new_scheduler()
        await asyncio.to_thread(self.group.start)
        await self._join()
        self.group.every(SET_CLOCK_EVERY, self._set_clock)
        self.failures.start()
        on_failed = self.failures.report
        upkeep.start(self.group, lease=self.lease, retention=self.retention, on_failed=on_failed)
        holdings.start(self.group, self.leases, on_failed)
        if self.works:
            await self._start_worker()
        if self.planned:
            await asyncio.to_thread(scheduler.start)
        self._gauges = self.gauges(self._started_store)
        metrics.watch(self._gauges)
        self._loop = asyncio.get_running_loop()
        self._termination.listen()
        self.intake.worker, self.intake.stopping_since = self.worker, None
        self.intake.started = True
        telemetry.started(
            self.store.url,
            self.store.durability,
            self.leases.worker,
            self.settings.concurrency if self.works else None,
        )

    async def _join(self) -> None:
        """Enter this process, and its worker, into the store's list."""
        served = (self.settings.queues, self.settings.concurrency) if self.works else ()
        try:
            await asyncio.to_thread(self.leases.start, *served)
        except StoreError:
            await asyncio.to_thread(self.group.stop)
            raise

    async def _start_worker(self) -> None:
        if self.queue_limits:
            await asyncio.to_thread(self._limit_queues)
        worker = self.worker = Worker(
            self.group,
            self.leases,
            self.settings,
            injection=self.intake.injection,
            builtins=builtins_of(self.intake, self._kind),
            inquiries=self.inquiries,
            clock=self.clock,
        )
        if self.intake.holds_jobs:
            worker.hold(True)
        # It opens pipes of other processes: file access, which must not block the event loop.
        await asyncio.to_thread(worker.listen)
        worker.start()
        self.inquiries.on_cancel = worker.look_for_orders
        # The paused and limited queues must be known before the first job is offered.
        await asyncio.to_thread(self.group.run_blocking, calling(worker.look_for_orders))
        if self.queue_limits:
            # If that fails, the limits apply here now, and elsewhere a moment later.
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self.store.wait_noted, self.intake.store_timeout)

    def _limit_queues(self) -> None:
        self.group.run_blocking(calling(lambda store: store.limit(self.queue_limits)))

    def _set_clock(self, store: Store) -> None:
        fast = self.clock.set_by(store.now)
        if abs(fast) > WRONG_CLOCK:
            telemetry.clock_differs(fast, self.store.url)

    def _started_store(self) -> Store:
        """Return the store for gauges, which OpenTelemetry may want to read after the stop."""
        if not self.intake.started:
            raise NotStarted("The application has stopped.")
        return self.inquiries.store()

    # ------------------------------------------------------------------ stop

    async def stop(self) -> None:
        """Drain the worker and close the store; no-op if it is stopped."""
        if not self.intake.started:
            return
        if self.is_stranded:
            if not await self._leave_closed_loop():
                await asyncio.to_thread(self.group.stop)
            return
        self.intake.started = False
        self.intake.stopping_since = self.intake.stopping_since or self.intake.monotonic()
        await self._stop_mounted()
        self._termination.stop()
        await self._tell_store(self.leases.retire)  # attempts cut off from now on are not lost
        await self.intake.wait_unfinished(self.intake.grace)
        left = await self.worker.drain(self.intake.grace) if self.worker else 0
        await self.failures.drain()
        self.drained = not left
        telemetry.stopped(self.leases.worker, left)
        self.group.stop_timers()  # from here on the lease is not renewed
        # A thread cannot be stopped, and its job must not be given away while it may still run. The
        # job is recovered when the lease expires, or when the process ends and frees its lock;
        # until then its outcome is accepted.
        if not left:
            await self._tell_store(self.leases.stop)
            await asyncio.to_thread(self.group.stop)
        self.worker = self.intake.worker = self.inquiries.on_cancel = None
        listeners.stop(self)
        self._starting, self._started_late = None, False

    async def _stop_mounted(self) -> None:
        """Stop the applications that requests started in this event loop; nothing else does."""
        for each in list(_runtimes):
            if each is not self and each._started_late and each._loop is self._loop:
                await each.stop()

    def _stop_claiming(self) -> None:
        """Begin to drain at the signal: running attempts may end, and nothing else starts."""
        self.intake.stopping_since = self.intake.stopping_since or self.intake.monotonic()
        if self._started_late:  # no `stop` will follow: attempts cut off from now on are not lost
            worker = self.leases.worker
            self.group.submit(calling(lambda store: store.retire(worker)))
        if self.worker is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self.worker.stop_claiming)

    async def _leave_closed_loop(self) -> int:
        """Make up for a missing `stop`, as far as that is possible; no-op if there was one.

        Returns:
            The number of attempts that could not be ended, because they go on in threads.
        """
        if not self.is_stranded:
            return 0
        self.intake.forget()
        listeners.stop(self)
        self._termination.stop()
        await self._tell_store(self.leases.retire)
        left = await asyncio.to_thread(self.worker.leave_closed_loop) if self.worker else 0
        self.drained = not left
        self.group.stop_timers()
        if not left:  # as in `stop`
            await self._tell_store(self.leases.stop)
        self.worker = self.inquiries.on_cancel = None
        self._started_late = False
        return left

    async def _tell_store(self, farewell: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(farewell)
        except StoreError as error:  # the next recovery finds our lock free, or our lease expired
            telemetry.step_failed(error)

    def forget(self) -> None:
        """Reset to "not started", in a forked child."""
        self.intake.forget()
        self.failures.forget()
        self.worker = None

    # ------------------------------------------------------------------ under the pytest plugin

    async def run_due(self, most: int) -> Sequence[str]:
        """Run up to `most` attempts that are due, one by one; return the ids of their jobs."""
        ran = await self.worker.run_due(most) if self.worker else []
        await self.failures.wait_called()
        return ran

    async def start_due(self) -> bool:
        """Start the jobs of all queues that are due, as far as there are slots; True if any was."""
        here = self.worker is not None and self.serving_loop is asyncio.get_running_loop()
        return bool(self.worker and here and await self.worker.claim_due(self.settings.concurrency))

    async def wait_reported(self) -> None:
        """Wait until what requests and attempts so far have told the store is stored.

        That is the release of jobs, and the ends of attempts, with the calls for those that failed.
        """
        here = self.serving_loop is asyncio.get_running_loop()
        if here or self.intake.holds_jobs:
            await self.group.run(calling(_nothing))
        if here:
            await self.failures.wait_called()

    def hold_jobs(self, held: bool) -> None:
        """Let no job start, and no schedule create one, until a test says so."""
        self.intake.holds_jobs = held
        if self.worker is not None:
            self.worker.hold(held)
        if self._scheduler is not None:
            self._scheduler.held = held

    def use_store(self, store: Store) -> None:
        """Keep the jobs in another store from now on; it must not be started."""
        self.group.stop()
        self.store = self.group.store = store


def _nothing(store: Store) -> None:
    """Do nothing, behind all that the store's thread has to do before."""
