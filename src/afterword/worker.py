"""The worker: takes jobs, runs their attempts, puts the outcomes on record.

Two ways lead here. Jobs of this process's own requests are offered and start at once: adding them
gave this worker attempt 1 already. Everything else is claimed from the store, as many as slots are
free, whenever the store's thread says that something may be claimable, and once a second.

Three kinds of threads meet: the event loop starts attempts; task threads run `def` attempts; the
store's thread calls back when an outcome is on record. An attempt takes a slot until its function
has returned, and its lease is kept until its outcome is on record.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from afterword import telemetry
from afterword.clock import Clock
from afterword.context import TaskContext
from afterword.errors import UnknownTask
from afterword.executor import Attempt, prepare, run_async, run_sync
from afterword.group_commit import GroupCommit
from afterword.leases import Leases
from afterword.operation import calling, releasing, settling
from afterword.outcome import Completed, Failed, Outcome, Released, summarize
from afterword.store import Claim, Putback, Settlement, Store
from afterword.task import is_async
from afterword.threads import Threads
from afterword.transactions import Transactions

POLL_EVERY = 1.0  # seconds between claims when nothing hints at work: due times, lost hints
PROBE = 4  # the part of the free slots that the first of several claims asks for: a quarter
NOTICE_EVERY = 0.01  # seconds between looks for commits of other processes
UNKNOWN_FOR = 5.0  # seconds a task that this worker does not know is left to others
PARKED_FOR = 60.0  # seconds a job waits whose arguments do not fit its function
PARK_LIMIT = 7 * 24 * 3600.0  # seconds after which a job that nobody can run fails
CANCEL_WITHIN = 2.0  # seconds an attempt has to end once it was cancelled


@dataclass(slots=True, eq=False)
class _Running:
    """An attempt, from its start until its outcome is on record."""

    attempt: Attempt
    started_at: float
    task: asyncio.Task[None] | None = None
    interrupted: bool = False


class Worker:
    """Runs jobs in this process.

    Args:
        concurrency: attempts at the same time.
        queues: what it serves.
        redact: what may be kept of an error's text.
    """

    def __init__(
        self,
        group: GroupCommit,
        leases: Leases,
        *,
        concurrency: int,
        queues: Sequence[str] = ("default",),
        redact: Callable[[str], str] = str,
        clock: Clock | None = None,
    ) -> None:
        self.concurrency = concurrency
        self._group = group
        self._transactions = Transactions(group)
        self._leases = leases
        self._queues = queues
        self._redact = redact
        self._clock = clock or Clock()
        self._threads = Threads(concurrency)
        self._running: dict[str, _Running] = {}  # until their outcome is on record
        self._active: set[_Running] = set()  # until their function has returned
        self._claiming = 0  # slots promised to a claim that is under way
        self._hungry = False  # there was more to claim than free slots
        self._unknown: dict[str, float] = {}  # task: skipped until this monotonic time
        self._draining = False
        self._woken = False

    # ------------------------------------------------------------------ start and drain

    def start(self) -> None:
        """Begin to claim, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._context = contextvars.Context()  # nothing of whoever happens to start an attempt
        self._wake = asyncio.Event()
        self._emptied = asyncio.Event()
        self._leases.on_lost = self._on_lost
        self._group.after_commit = self._notice
        self._group.every(NOTICE_EVERY, self._notice)
        self._claims = self._loop.create_task(self._claim_forever(), context=self._context)

    async def drain(self, grace: float) -> int:
        """Stop claiming, let attempts end for `grace` seconds, then give them back.

        Returns:
            How many could not be ended: threads, and coroutines that ignore being cancelled.
        """
        self._draining = True
        self._wake.set()
        await self._claims
        await self._wait_emptied(grace)
        for running in list(self._running.values()):
            self._interrupt(running)
        await self._wait_emptied(
            CANCEL_WITHIN if any(r.task for r in self._running.values()) else 0.0
        )
        self._threads.stop()
        return len(self._running)

    async def _wait_emptied(self, seconds: float) -> None:
        self._emptied.clear()
        if self._running and seconds > 0:
            try:
                await asyncio.wait_for(self._emptied.wait(), seconds)
            except TimeoutError:
                return

    # ------------------------------------------------------------------ taking jobs

    def offer(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Start jobs that this process holds; returns those it has no room for."""
        if threading.get_ident() != self._loop_thread:
            return claims
        left = [claim for claim in claims if not self._take(claim)]
        self._hungry = self._hungry or any(claim.queue in self._queues for claim in left)
        return left

    def _take(self, claim: Claim) -> bool:
        if self._draining or self._free <= 0 or claim.queue not in self._queues:
            return False
        if claim.worker != self._leases.worker or not self._leases.valid:
            return False
        self._start(claim)
        return True

    @property
    def _free(self) -> int:
        return self.concurrency - len(self._active) - self._claiming

    async def _claim_forever(self) -> None:
        while not self._draining:
            try:
                await self._claim_while_there_is_work()
            except Exception as error:  # whatever it is, this loop must not end in silence
                telemetry.claim_failed(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_EVERY)
            self._wake.clear()
            self._woken = False

    async def _claim_while_there_is_work(self) -> None:
        # A first claim leaves slots to the jobs that this process's requests offer meanwhile; only
        # a claim that came back full shows that there is more in the store.
        limit = self._free if self._hungry else max(1, self._free // PROBE)
        while self._free > 0:
            claims = await self._claim(limit)
            if self._draining:
                self._group.insist(releasing([Putback(claim) for claim in claims]))
                return
            for claim in claims:
                self._start(claim)
            if len(claims) < limit:
                self._hungry = False
                return
            limit = self._free
        self._hungry = True

    async def _claim(self, limit: int) -> Sequence[Claim]:
        if not self._leases.valid:
            return []  # until it has joined again: what it took now would be lost at once
        skip = self._skipped()
        worker = self._leases.worker
        self._claiming = limit
        try:
            claims: Sequence[Claim] = await self._group.run(
                calling(lambda store: store.claim(worker, self._queues, limit, skip))
            )
            return claims
        finally:
            self._claiming = 0

    def _skipped(self) -> list[str]:
        now = self._clock.monotonic()
        self._unknown = {task: until for task, until in self._unknown.items() if until > now}
        return list(self._unknown)

    def _notice(self, store: Store) -> None:
        """In the store's thread: something may be claimable."""
        if store.changed():
            self._wake_up()

    def _wake_up(self) -> None:
        if not self._woken:
            self._woken = True
            self._in_loop(self._wake.set)

    def _in_loop(self, callback: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]
        except RuntimeError:  # the loop was closed without a shutdown
            self._draining = True

    # ------------------------------------------------------------------ running them

    def _start(self, claim: Claim) -> None:
        try:
            attempt = prepare(claim, TaskContext(claim, self._transactions, self._clock.now()))
        except UnknownTask as error:
            self._unknown[claim.task] = self._clock.monotonic() + UNKNOWN_FOR
            self._put_back(claim, summarize(error), delay=0.0)
        except Exception as error:  # whatever the arguments' own types raise
            self._put_back(claim, summarize(error), delay=PARKED_FOR)
        else:
            self._run(attempt)

    def _run(self, attempt: Attempt) -> None:
        running = _Running(attempt, attempt.context.started_at)
        self._running[attempt.claim.id] = running
        self._active.add(running)
        if is_async(attempt.func):
            running.task = self._loop.create_task(
                self._run_async(running), context=self._context.copy()
            )
            running.task.add_done_callback(lambda task: self._release_unstarted(running, task))
        else:
            self._threads.submit(lambda: self._run_sync(running))

    async def _run_async(self, running: _Running) -> None:
        outcome = await run_async(running.attempt, lambda: running.interrupted)
        self._settle(running, outcome)

    def _release_unstarted(self, running: _Running, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step never gets to settle its attempt."""
        if task.cancelled():
            self._settle(running, Released())

    def _run_sync(self, running: _Running) -> None:
        outcome = run_sync(running.attempt, self._loop, self._context.copy())
        self._settle(running, outcome)

    def _put_back(self, claim: Claim, reason: str, delay: float) -> None:
        """Leave a job to those who can run it; when nobody could for a week, it fails."""
        telemetry.put_back(claim.id, claim.task, reason)
        now = self._clock.now()
        if now - claim.created_at > PARK_LIMIT:
            self._group.insist(settling([Settlement(claim, Failed(reason), now)]))
        else:
            self._group.insist(releasing([Putback(claim, now + delay if delay else None, reason)]))

    # ------------------------------------------------------------------ ending them

    def _settle(self, running: _Running, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            outcome = Failed(self._redact(outcome.error))
        self._active.discard(running)
        if self._hungry:
            self._wake_up()
        if running.attempt.context.completed:
            self._note_completed(running, outcome)
        else:
            self._submit(Settlement(running.attempt.claim, outcome, running.started_at))

    def _note_completed(self, running: _Running, outcome: Outcome) -> None:
        """The task has put its completion on record itself, whatever it did afterwards."""
        claim = running.attempt.claim
        if not isinstance(outcome, Completed):
            telemetry.failed_after_completion(claim.id, claim.task, claim.attempt, outcome)
        seconds = self._clock.now() - running.started_at
        telemetry.ended(claim.id, claim.task, claim.attempt, Completed(), seconds)
        self._forget(claim)

    def _submit(self, settlement: Settlement) -> None:
        operation = settling([settlement])
        operation.done = lambda accepted, error: self._on_settled(settlement, accepted, error)
        self._group.insist(operation)

    def _on_settled(
        self, settlement: Settlement, accepted: Sequence[bool], error: BaseException | None
    ) -> None:
        """In the store's thread."""
        claim = settlement.claim
        if error is not None:
            self._settle_without(settlement, error)
            return
        if accepted[0]:
            seconds = self._clock.now() - settlement.started_at
            telemetry.ended(claim.id, claim.task, claim.attempt, settlement.outcome, seconds)
        else:
            telemetry.lost_lease(claim.id, claim.task, claim.attempt)
        self._forget(claim)

    def _settle_without(self, settlement: Settlement, error: BaseException) -> None:
        """The store refuses this very outcome: the job ends all the same, as failed."""
        telemetry.settle_failed(settlement.claim.id, error)
        reason = f"the outcome of the attempt could not be stored: {summarize(error)}"
        if settlement.outcome == Failed(reason):
            self._forget(settlement.claim)  # not even that: the lease of the process will end it
        else:
            self._submit(replace(settlement, outcome=Failed(reason)))

    def _forget(self, claim: Claim) -> None:
        running = self._running.get(claim.id)
        if running is not None and running.attempt.claim == claim:
            del self._running[claim.id]
        if self._draining and not self._running:
            self._in_loop(self._emptied.set)

    # ------------------------------------------------------------------ losing them

    def _on_lost(self, worker: str) -> None:
        """In the store's thread: what runs here may run elsewhere by now, so it is to stop."""
        self._in_loop(lambda: self._interrupt_all(worker))

    def _interrupt_all(self, worker: str) -> None:
        for running in list(self._running.values()):
            if running.attempt.claim.worker == worker:
                self._interrupt(running)

    def _interrupt(self, running: _Running) -> None:
        """Cancel an `async` attempt. A thread cannot be stopped; the fence refuses its outcome."""
        if running.task is not None:
            running.interrupted = True
            running.task.cancel()
