"""The worker: takes jobs and runs their attempts.

Jobs come in two ways. Jobs of this process's own requests are offered and start at once: this
worker has had their attempt 1 since they were added. All others are claimed from the store, as many
as there are free slots and a few more (`claims`), when the store's thread finds that jobs may be
claimable, and once a second. Jobs with a limit or a rate are always claimed, because only the store
knows which jobs run in other processes.

`runner` runs the attempts.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence

from afterword import telemetry
from afterword.client.failures import Failure
from afterword.client.group_commit import GroupCommit
from afterword.client.inquiries import Inquiries
from afterword.client.leases import Leases
from afterword.client.operation import calling, releasing, settling, waking
from afterword.errors import InjectionError, StoreError, UnknownTask
from afterword.injection.needs import Injection
from afterword.model.clock import Clock
from afterword.model.outcome import Failed, shown, summarize
from afterword.store.protocol import Claim, Putback, Settlement, Store
from afterword.tasks.policy import Why
from afterword.tasks.registry import names_with_executor
from afterword.transactions.statements import Transactions
from afterword.worker.attempt_log import AttemptLog, collect
from afterword.worker.claims import GIVE_BACK_AFTER, Claims
from afterword.worker.context import BUILTINS, TaskContext, current_log
from afterword.worker.executor import Targets, prepare
from afterword.worker.progress import Reports
from afterword.worker.runner import Runner
from afterword.worker.services import Make, WorkerServices, WorkerSettings

POLL_EVERY = 1.0  # seconds between claims when nothing hints at work: a hint may be lost
UNKNOWN_FOR = 5.0  # seconds for which an unknown task is left to others; then twice as long ...
PARKED_FOR = 60.0  # ... up to this; and how long a job waits if its arguments do not fit
PARK_LIMIT = 7 * 24 * 3600.0  # seconds after which a job fails that no worker could run
CANCEL_WITHIN = 2.0  # seconds an attempt has to end once a shutdown cancelled it
LOOK_EVERY = 0.5  # seconds between looks for rules of queues and cancelled jobs
START_WITHIN = 0.02  # seconds that a look waits for a start which is under way


class Worker:
    """Runs jobs in this process.

    Args:
        settings: chosen by the application.
        injection: of the application.
        builtins: makers of more values that are injected by their type alone.
        inquiries: answers the handles of jobs that tasks add.
    """

    def __init__(
        self,
        group: GroupCommit,
        leases: Leases,
        settings: WorkerSettings,
        *,
        injection: Injection | None = None,
        builtins: Mapping[type, Make] | None = None,
        inquiries: Inquiries | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.concurrency = settings.concurrency
        self._group = group
        self._leases = leases
        self._queues = settings.queues
        self._redact = settings.redact
        self._retries = settings.retries
        self._on_failed = settings.on_failed
        self._clock = clock or Clock()
        self._reports = Reports(group)
        self._services = WorkerServices(
            injection=injection or Injection(),
            builtins={**BUILTINS, **(builtins or {})},
            transactions=Transactions(group),
            inquiries=inquiries,
            note=self._reports.note,
            write_now=self._reports.write_now,
            now=self._clock.now,
            monotonic=self._clock.monotonic,
            new_log=_logs_of(settings),
        )
        self._targets = Targets(self._services.injection)
        self._runner = Runner(
            group,
            self._reports,
            settings,
            clock=self._clock,
            on_free=self._on_free,
            on_empty=self._on_empty,
            on_loop_ends=self.stop_claiming,
        )
        self._claims = Claims(
            group,
            leases,
            settings.queues,
            free=lambda: self.concurrency - self._runner.busy,
            skipped=self._skipped,
            on_claimed=lambda: self._in_loop(self._fill),
            clock=self._clock,
        )
        self._claims.stopped = True  # until the start
        self._process_tasks: Sequence[str] = ()
        self._processes_busy = False  # there may be more to claim when one of them is free
        self._ruled: frozenset[str] = frozenset()  # queues whose jobs have to be claimed
        self._starting = (
            threading.RLock()
        )  # held while a job is started, or the rules for starts change
        self._unwanted: frozenset[str] = frozenset()  # jobs held here that people have cancelled
        self._unknown: dict[str, tuple[float, float]] = {}  # task: left alone until, for seconds
        self._next_poll: asyncio.Handle
        self._held = False  # it starts only what `run_due` and `claim_due` tell it to
        self._draining = False
        self._filling = False  # waiting claims are about to get the free slots

    # ------------------------------------------------------------------ start and drain

    def listen(self) -> None:
        """Subscribe to jobs of other processes.

        Call it before `start`, and not in the event loop: it opens files.
        """
        self._look_every = self._group.store.listen(self._claims.ask)

    def start(self) -> None:
        """Begin to claim, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._runner.start()
        self._claims.stopped = self._held
        self._process_tasks = names_with_executor("process")
        self._emptied = asyncio.Event()
        self._leases.on_lost = self._on_lost
        self._group.every(self._look_every, self._notice)
        self._group.every(LOOK_EVERY, self.look_for_orders)
        self._reports.start()
        self._next_poll = self._loop.call_soon(self._poll)

    async def drain(self, grace: float) -> int:
        """Stop claiming, let attempts end for `grace` seconds, then give them back.

        Returns:
            The number of attempts that go on: threads, and coroutines that ignore cancellation.
        """
        self.stop_claiming()
        with contextlib.suppress(StoreError):
            # Behind the last claim, which gives back what it took.
            await self._group.run(calling(lambda store: store.take_note(self._leases.worker, None)))
        await self._wait_emptied(grace)
        self._runner.interrupt_all(Why.SHUTDOWN)
        await self._wait_emptied(CANCEL_WITHIN if self._runner.cancellable else 0.0)
        await asyncio.to_thread(self._runner.stop)
        return self._runner.left

    def stop_claiming(self) -> None:
        """Start no more jobs; call it in the event loop's thread."""
        self._draining = self._runner.closing = self._claims.stopped = True
        self._next_poll.cancel()
        self._give_back()

    @property
    def stranded(self) -> bool:
        """True if the event loop was closed without a shutdown."""
        return self._loop.is_closed()

    def leave_closed_loop(self) -> int:
        """Stop a worker whose event loop was closed; blocks.

        Returns:
            The number of attempts that go on, in threads.
        """
        self._strand()
        self._runner.interrupt_all(Why.SHUTDOWN)
        self._runner.stop()
        with contextlib.suppress(StoreError):
            self._group.run_blocking(waking())  # behind the outcomes of what was cut off
        return self._runner.left

    def _strand(self) -> None:
        """Give back waiting claims after the loop was closed: nothing can start here any more."""
        self._draining = self._runner.closing = self._claims.stopped = True
        self._give_back()

    async def _wait_emptied(self, seconds: float) -> None:
        self._emptied.clear()
        if self._runner.left and seconds > 0:
            try:
                await asyncio.wait_for(self._emptied.wait(), seconds)
            except TimeoutError:
                return

    # ------------------------------------------------------------------ taking jobs

    def offer(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Start jobs that this process holds; returns those it has no room for."""
        if self._held or not self._is_here:
            return claims
        with self._starting:
            left = [claim for claim in claims if not self._take(claim)]
        if any(claim.queue in self._queues for claim in left):
            self._claims.more = True
        return left

    @property
    def busy(self) -> int:
        """The number of attempts that run here."""
        return self._runner.busy

    @property
    def _is_here(self) -> bool:
        """True in the worker's event loop; other loops cannot start attempts."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def _closing(self) -> bool:
        """True if no more jobs may be started."""
        return self._draining or self._runner.loop_ends

    def _take(self, claim: Claim) -> bool:
        if self._closing or self._free <= 0 or claim.queue not in self._queues:
            return False
        if claim.limited or claim.queue in self._ruled:
            return False
        if claim.task in self._skipped():
            return False
        if not self._may_start(claim):
            return False
        self._start(claim)
        return True

    @property
    def _free(self) -> int:
        taken = self._runner.busy + len(self._claims.waiting) + self._claims.promised
        return self.concurrency - taken

    def _poll(self) -> None:
        """Ask for claims even if nothing hints at work."""
        self._give_back()
        self._claims.ask()
        self._poll_later()

    def _poll_later(self) -> None:
        next_in = self._claims.next_in
        pause = POLL_EVERY if next_in is None else min(POLL_EVERY, next_in)
        pause = min(pause, GIVE_BACK_AFTER) if self._claims.waiting else pause
        self._next_poll.cancel()
        self._next_poll = self._loop.call_later(pause, self._poll)

    def _fill(self) -> None:
        """Give the free slots to claims that wait."""
        self._filling = False
        with self._starting:
            self._start_waiting()
        self._give_back()
        if self._draining:
            return
        self._poll_later()
        if self._claims.more and self._free > 0:
            self._claims.ask()  # while all slots are taken, each end asks

    def _start_waiting(self) -> None:
        while self._claims.waiting and self._runner.busy < self.concurrency and not self._closing:
            claim = self._claims.waiting.take()
            if self._may_start(claim):
                self._start(claim)
            else:
                self._group.insist(releasing([Putback(claim)]))

    def _may_start(self, claim: Claim) -> bool:
        """Return True if the claim is still valid and not cancelled."""
        ours = claim.worker == self._leases.worker and self._leases.valid
        return ours and claim.id not in self._unwanted

    def _give_back(self) -> None:
        """Give back claims that have waited too long, or all of them at the end."""
        with self._starting:
            claims = self._claims.waiting.give_up(all_of_them=self._draining)
        if claims:
            self._group.insist(releasing([Putback(claim) for claim in claims]))

    def _skipped(self) -> Sequence[str]:
        """The tasks whose jobs this worker does not claim now."""
        now = self._clock.monotonic()
        unknown = [task for task, (until, _) in list(self._unknown.items()) if until > now]
        # An attempt that waits for a process would keep a slot meanwhile.
        self._processes_busy = bool(self._process_tasks) and self._runner.processes_busy
        return [*unknown, *(self._process_tasks if self._processes_busy else ())]

    def _notice(self, store: Store) -> None:
        """Ask for claims, in the store's thread, if the store has changed."""
        if store.changed():
            self._claims.ask()

    def _in_loop(self, callback: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]
        except RuntimeError:  # the loop was closed without a shutdown
            self._draining = self._claims.stopped = True

    # ------------------------------------------------------------------ running them

    def _start(self, claim: Claim) -> None:
        try:
            context = TaskContext(claim, self._services, self._clock.now())
            attempt = prepare(claim, context, self._targets, self._retries)
        except UnknownTask as error:
            self._leave_alone(claim.task)
            self._put_back(claim, error, delay=0.0)
        except InjectionError as error:
            self._fail(claim, error)
        except Exception as error:  # the types of the arguments may raise anything
            self._put_back(claim, error, delay=PARKED_FOR)
        else:
            self._runner.run(attempt)

    def _leave_alone(self, task: str) -> None:
        """Claim no jobs of an unknown task for a while, which grows as long as it is unknown."""
        now = self._clock.monotonic()
        until, seconds = self._unknown.get(task, (now, UNKNOWN_FOR / 2))
        if until <= now:  # else this is another job of the same claim
            seconds = min(2 * seconds, PARKED_FOR)
            self._unknown[task] = now + seconds, seconds

    def _put_back(self, claim: Claim, error: Exception, delay: float) -> None:
        """Leave a job to workers that can run it; after a week without one, it fails."""
        reason = self._redact(summarize(error))
        telemetry.put_back(claim, reason, again=claim.parked > 0)
        if claim.parked > PARK_LIMIT:
            self._fail(claim, error)
        else:
            self._group.insist(releasing([Putback(claim, delay, reason)]))

    def _fail(self, claim: Claim, error: Exception) -> None:
        """End a job as failed that cannot be run."""
        outcome = Failed(self._redact(summarize(error)))
        telemetry.ended(claim, outcome, 0.0, telemetry.Cause(error=shown(error, self._redact)))
        failure = Failure.of(claim, error)
        operation = settling([Settlement(claim, outcome)])
        operation.done = lambda accepted, problem: self._report(failure, accepted, problem)
        self._group.insist(operation)

    def _report(
        self, failure: Failure, accepted: Sequence[bool], problem: BaseException | None
    ) -> None:
        if problem is not None:
            telemetry.settle_failed(failure.job_id, problem)
        elif all(accepted):
            self._on_failed(failure)

    def _on_free(self) -> None:
        self._claims.waiting.note_end(idle=not self._runner.busy)
        if self._claims.waiting and not self._filling:
            self._filling = True
            self._in_loop(self._fill)
        if self._claims.more or self._processes_busy:
            self._claims.ask()

    def _on_empty(self) -> None:
        if self._draining or self._held:
            self._in_loop(self._emptied.set)

    # ------------------------------------------------------------------ in tests

    def hold(self, held: bool) -> None:
        """Start jobs by `run_due` only, or start them as usual again."""
        self._held = held
        self._claims.stopped = held or self._draining
        self._claims.ask()

    async def run_due(self, most: int) -> Sequence[str]:
        """Run up to `most` attempts, one after the other; to be called while it is held.

        Returns:
            The ids of their jobs, in this order.
        """
        ran: list[str] = []
        while len(ran) < most and (claims := await self.claim_due(1)):
            self._emptied.clear()
            if self._runner.left:
                await self._emptied.wait()
            ran.extend(claim.id for claim in claims)
        return ran

    async def claim_due(self, most: int) -> Sequence[Claim]:
        """Start up to `most` due jobs, of any queue, as far as there are free slots."""
        worker, limit, skipped = self._leases.worker, min(most, self._free), self._skipped()

        def claim(store: Store) -> Sequence[Claim]:
            queues = [each.name for each in store.queues()]
            return store.claim(worker, queues, limit, skipped) if limit > 0 else []

        claims: Sequence[Claim] = await self._group.run(calling(claim))
        with self._starting:
            for each in claims:
                self._start(each)
        return claims

    # ------------------------------------------------------------------ rules and cancellations

    def look_for_orders(self, store: Store) -> None:
        """Look, in the store's thread, for paused and limited queues and for cancelled jobs."""
        if self.stranded:
            self._strand()
        self._obey(store)
        wanted = store.cancelling(self._leases.worker)
        self._unwanted = frozenset(each.id for each in wanted)
        if wanted and self._runner.left:
            self._in_loop(lambda: self._runner.cancel(wanted))

    def _obey(self, store: Store) -> None:
        """Apply the rules of queues from now on, and then note that in the store.

        It waits briefly for a job that is just starting, because that may import the user's code.
        If the start takes longer, the next look notes the rules.
        """
        rules = store.rules(self._leases.worker)
        self._ruled = rules.queues
        if rules.noted in (None, rules.version) or not self._starting.acquire(timeout=START_WITHIN):
            return
        try:
            # Claimed before the rule was changed, and not started yet.
            claims = self._claims.waiting.take_out(rules.queues)
        finally:
            self._starting.release()
        if claims:
            self._group.insist(releasing([Putback(claim) for claim in claims]))
        store.take_note(self._leases.worker, rules.version)

    def _on_lost(self, worker: str) -> None:
        """Interrupt, from the store's thread, attempts that may run in another worker by now."""
        self._in_loop(lambda: self._runner.interrupt_all(Why.LOST, worker))


def _logs_of(settings: WorkerSettings) -> Callable[[], AttemptLog] | None:
    """Return the function that makes the log of an attempt; None: no logs are kept."""
    if not settings.log_lines:
        return None
    collect(current_log)
    return lambda: AttemptLog(settings.log_lines, settings.redact)
