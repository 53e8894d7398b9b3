"""The store's one thread: many callers, one transaction.

All callers put operations into one queue: request handlers that store jobs, the worker that claims
and settles, threads, scripts. The thread takes all waiting operations, runs them in one
transaction, commits once, and wakes the callers. A hundred requests of the same millisecond share
one fsync. The thread does not depend on the event loop, which user code can block.

Failures:

- An operation is bad: the batch is rolled back and each operation is run in its own transaction, so
  that only the bad one fails.
- The store is unavailable (busy, full): all operations of the batch fail with StoreUnavailable.
  The next batches are smaller, because a large one is less likely to succeed.
- The connection is lost, certainly before anything was written: the batch is repeated.
- Another transaction holds a lock: the operation that needs it is set aside (`aside`) and tried
  again later.
- A caller stops waiting: until its batch begins to commit, its operation is taken out, so that
  nothing of it is stored (`Operation.abandon`). After that the caller has to wait for the answer.
"""

import asyncio
import contextlib
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from afterword import telemetry
from afterword.client.aside import Aside
from afterword.client.operation import Done, Operation, waking
from afterword.errors import (
    StoreError,
    StoreInterrupted,
    StoreLocked,
    StoreUnavailable,
    is_final,
)
from afterword.model.clock import Clock
from afterword.model.fork import in_child
from afterword.model.outcome import summarize
from afterword.store.protocol import Store

MAX_BATCH = 1_000  # operations per transaction
REPEATS = 3  # repetitions of a transaction whose connection was lost
INSIST_EVERY = 1.0  # seconds between two tries of an operation that must not get lost
PART_WITHIN = 0.5  # seconds to find out which operations of a batch meet a lock


@dataclass(slots=True)
class _Timer:
    due: float
    interval: float
    step: Callable[[Store], object]


_due: Callable[[_Timer], float] = attrgetter("due")
IsFinal = Callable[[BaseException], bool]


class _Abandoned(Exception):
    """An operation was abandoned while its batch ran: run the batch again without it."""


class GroupCommit:
    """The only writer to the store while it runs.

    Args:
        store: not yet open; `start` opens it, `stop` closes it.
        clock: for the timers.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self._clock = clock or Clock()
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._timers = [self._insisting()]
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()  # held by the thread that commits
        self._turn_wanted = False  # by the store's thread, which has timers to run
        self._starting = threading.Lock()
        self._postponed: queue.SimpleQueue[Operation] = queue.SimpleQueue()  # by any thread
        self._last_error = ""  # of a postponed operation
        self._aside = Aside(self._clock)
        self._part_until = 0.0  # monotonic
        self._most = MAX_BATCH  # operations in the next transaction
        self.on_open: Callable[[Store], object] | None = None  # called before the thread starts
        in_child(self._forget)

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Open the store and start the thread.

        Raises:
            StoreError: the store cannot be opened.
        """
        with self._starting:  # scripts add their first jobs from several threads at once
            if self._thread is not None:
                return
            self.store.open()
            if self.on_open is not None:
                self._step(self.on_open)
            self._thread = threading.Thread(target=self._run, name="afterword-store", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Run the operations in the queue, then close the store."""
        with self._starting:
            if self._thread is None:
                return
            self._insist_again(self.store)
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._refuse_waiting()
            self.stop_timers()
            with self._turn:  # a blocking caller may be committing
                self.store.close()

    def stop_timers(self) -> None:
        """Stop the periodic steps of the callers; operations are still taken."""
        self._timers = [self._insisting()]

    def _forget(self) -> None:
        """Forget, in a forked child, the operations of the parent; the child can start its own."""
        self._queue = queue.SimpleQueue()
        self._turn, self._turn_wanted = threading.Lock(), False
        self._starting = threading.Lock()
        self._thread = None
        self._postponed = queue.SimpleQueue()
        self._aside = Aside(self._clock)
        self.stop_timers()
        self.store.forget()

    @property
    def running(self) -> bool:
        """True while operations are taken."""
        return self._thread is not None

    def every(
        self, interval: float, step: Callable[[Store], object], *, after: float = 0.0
    ) -> None:
        """Call `step(store)` in the store's thread each `interval` seconds, `after` seconds on."""
        self._timers.append(_Timer(self._clock.monotonic() + after, interval, step))
        self._queue.put(waking())

    # ------------------------------------------------------------------ for callers

    def submit(self, operation: Operation) -> None:
        """Put an operation into the queue; never blocks. It fails if the thread is not running."""
        self._queue.put(operation)
        if self._thread is None:
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        """Fail the operations in the queue: no thread will take them."""
        refused = []
        while not self._queue.empty():
            with contextlib.suppress(queue.Empty):  # another thread refuses them, too
                refused.append(self._queue.get_nowait())
        operations = [operation for operation in refused if operation is not None]
        _fail(operations, StoreUnavailable(f"The store {self.store.url} is not in use now."))
        _deliver(operations)

    def insist(self, operation: Operation, gives_up_on: IsFinal = is_final) -> None:
        """Submit an operation that must not get lost: it is tried again until it succeeds.

        Args:
            gives_up_on: True for an error after which trying again cannot help; it is the answer.
        """
        done = operation.done or _report
        operation.done = lambda result, error: self._answer_or_postpone(
            operation, done, gives_up_on, result, error
        )
        self._queue.put(operation)

    def _answer_or_postpone(
        self,
        operation: Operation,
        done: Done,
        gives_up_on: IsFinal,
        result: Any,
        error: BaseException | None,
    ) -> None:
        if error is not None and not gives_up_on(error):
            self._say_postponed(error)
            self._postponed.put(operation)
            return
        operation.done = None  # it refers to the operation, which would keep its claims alive
        done(result, error)

    def _say_postponed(self, error: BaseException) -> None:
        """Log an unexpected error once, not for each operation and each try."""
        text = summarize(error)
        if not isinstance(error, StoreUnavailable) and text != self._last_error:
            self._last_error = text
            telemetry.postponed(error)

    def _insisting(self) -> _Timer:
        return _Timer(self._clock.monotonic(), INSIST_EVERY, self._insist_again)

    def _insist_again(self, store: Store) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                operation = self._postponed.get_nowait()
                operation.error = operation.aside_since = None
                self._queue.put(operation)

    async def run(self, operation: Operation, timeout: float | None = None) -> Any:
        """Wait for an operation in an event loop.

        A caller that is cancelled while its operation is being committed waits for the answer, so
        that afterwards `operation.committed` is certain; then it is cancelled.

        Raises:
            StoreUnavailable: not committed within `timeout` seconds; nothing was stored.
        """
        loop = operation.loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        operation.done = lambda result, error: resolve(future, result, error)
        expiry = loop.call_later(timeout, self._expire, operation, future) if timeout else None
        self.submit(operation)
        try:
            return await future
        except asyncio.CancelledError:
            if not (operation.abandon() or operation.abandoned):
                await _answered(operation)
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    def _expire(self, operation: Operation, future: "asyncio.Future[Any]") -> None:
        if operation.abandon():
            resolve(future, None, self.timed_out())

    def timed_out(self, *, committing: bool = False) -> StoreError:
        """Return the error of a caller that does not wait any longer.

        Args:
            committing: it was too late to take the operation back.
        """
        outcome = "its jobs are cancelled after the commit" if committing else "nothing was stored"
        return StoreUnavailable(f"The store {self.store.url} did not answer in time; {outcome}.")

    def run_blocking(self, operation: Operation, timeout: float | None = None) -> Any:
        """Wait for an operation in a thread; errors as in `run`."""
        finished = threading.Event()
        operation.done = lambda result, error: finished.set()
        self.submit(operation)
        if not finished.wait(timeout) and operation.abandon():
            raise self.timed_out()
        finished.wait()
        if operation.error is not None:
            raise operation.error
        return operation.result

    def submit_blocking(self, operation: Operation, timeout: float) -> None:
        """Run an operation in the calling thread if nothing else is to be committed, or submit it.

        The way to the store's thread and back takes as long as a commit. Operations of several
        callers still share one: those that come during a commit wait in the queue. An operation may
        overtake what the store's thread has just taken from there, so the caller must not rely on
        the order; `run_blocking` keeps it.

        Args:
            operation: its caller waits for it next.
            timeout: seconds that the caller has. If the store may take longer, it is submitted.
        """
        if timeout < self.store.patience or not self._take_turn():
            self.submit(operation)
            return
        try:
            if self._thread is None:
                self.submit(operation)  # which refuses it
            else:
                self._perform_here(operation)
        finally:
            self._turn.release()

    def _take_turn(self) -> bool:
        """Take the turn to commit if no other thread waits for it; the caller releases it."""
        if self._turn_wanted or not self._queue.empty():
            return False
        return self._turn.acquire(blocking=False)

    def _perform_here(self, operation: Operation) -> None:
        try:
            self._perform(self._without_followers([operation]))
        except BaseException as error:  # KeyboardInterrupt, in the main thread
            _fail([operation], error)
            _deliver([operation])
            raise
        if self._aside.kept:
            self._queue.put(waking())  # the store's thread tries it again

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            batch, stopping = self._take()
            self._turn_wanted = True
            with self._turn:
                self._turn_wanted = False
                self._perform(self._without_followers(batch))
                if stopping:
                    _deliver(self._give_up_aside())
                    return
                self._run_timers()
                if self._aside.kept:
                    self._try_aside()

    def _without_followers(self, batch: Sequence[Operation]) -> Sequence[Operation]:
        """Leave out the operations that wait for another one, which has been set aside."""
        return self._aside.keep_followers(batch) if self._aside.kept else batch

    def _perform(self, batch: Sequence[Operation]) -> None:
        """Commit a batch, and answer the operations that have not been set aside."""
        self._part_until = self._clock.monotonic() + PART_WITHIN
        self._commit(batch)
        aside = self._aside.kept
        _deliver([each for each in batch if each not in aside] if aside else batch)

    def _try_aside(self) -> None:
        """Try the operations that met a lock again, if that is due."""
        started = self._clock.monotonic()
        if started < self._aside.due:
            return
        batch = self._aside.take()
        self._perform(batch)
        if not self._aside.kept.isdisjoint(batch):
            self._aside.note_failed(self._clock.monotonic() - started)
            return
        if batch:
            self._aside.note_done()
        for follower in self._aside.take_followers():
            self._queue.put(follower)

    def _give_up_aside(self) -> Sequence[Operation]:
        batch = self._aside.take_all()
        _fail(batch, StoreUnavailable(f"The store {self.store.url} was stopped meanwhile."))
        return batch

    def _take(self) -> tuple[list[Operation], bool]:
        """Take the waiting operations; True with them if the thread is to stop afterwards."""
        batch: list[Operation] = []
        try:
            operation = self._queue.get(timeout=self._time_to_next_timer())
            while operation is not None:
                batch.append(operation)
                if len(batch) >= self._most:
                    return batch, False
                operation = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _commit(self, batch: Sequence[Operation], repeats: int = REPEATS) -> None:
        try:
            self._commit_together(batch)
        except _Abandoned:
            self._commit([each for each in batch if not each.abandoned])
        except StoreInterrupted as error:
            self._repeat(batch, error, repeats)
        except StoreLocked as error:
            self._part(batch, error)
        except StoreUnavailable as error:
            self._most = max(1, len(batch) // 2)
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for operation in batch:
                self._commit([operation])

    def _repeat(self, batch: Sequence[Operation], error: StoreError, repeats: int) -> None:
        """Commit a batch again, of which nothing was written; operations may be abandoned first."""
        if repeats == 0:
            _fail(batch, error)
            return
        _undo_begin_commit(batch)
        self._commit(batch, repeats - 1)

    def _part(self, batch: Sequence[Operation], error: StoreLocked) -> None:
        """Find the operations that meet the lock, and set them aside so that the others go on."""
        half = len(batch) // 2
        if half == 0 and batch[0].divisible:
            _fail(batch, error)
        elif half == 0 or self._clock.monotonic() > self._part_until:
            self._aside.put(batch, error)
        else:
            self._commit(batch[:half])
            self._commit(batch[half:])

    def _commit_together(self, batch: Sequence[Operation]) -> None:
        if not batch:
            return
        with self.store.transaction():
            for group in _grouped(batch):
                self._execute(group)
            if [each for each in batch if not each.begin_commit()]:
                _undo_begin_commit(batch)
                raise _Abandoned
        self._most = min(MAX_BATCH, 2 * self._most)

    def _execute(self, group: Sequence[Operation]) -> None:
        first = group[0]
        if first.items is None:
            for operation in group:
                operation.result = operation.verb(self.store)
            return
        items = [item for operation in group for item in operation.items or ()]
        results = iter(first.verb(self.store, items, first.option))
        for operation in group:
            operation.result = [next(results) for _ in operation.items or ()]

    def _time_to_next_timer(self) -> float:
        due = min(map(_due, self._timers))
        if self._aside.kept:
            due = min(due, self._aside.due)
        return max(0.0, due - self._clock.monotonic())

    def _run_timers(self) -> None:
        now = self._clock.monotonic()
        for timer in [timer for timer in self._timers if timer.due <= now]:
            timer.due = now + timer.interval
            self._step(timer.step)

    def _step(self, step: Callable[[Store], object]) -> None:
        try:
            step(self.store)
        except Exception as error:
            telemetry.step_failed(error)


# ---------------------------------------------------------------------- helpers


def _grouped(batch: Sequence[Operation]) -> list[list[Operation]]:
    """Group operations by verb and option, in the order in which each group first appears.

    The order within a batch does not matter: a caller that adds a job and then settles it waits for
    the first answer before it submits the second operation.
    """
    groups: dict[Any, list[Operation]] = defaultdict(list)
    for operation in batch:
        groups[operation.verb, operation.option].append(operation)
    return list(groups.values())


def _undo_begin_commit(batch: Sequence[Operation]) -> None:
    for operation in batch:
        operation.undo_begin_commit()


def _fail(batch: Sequence[Operation], error: BaseException) -> None:
    for operation in batch:
        operation.error = error


def _deliver(batch: Sequence[Operation]) -> None:
    """Answer every caller; each event loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Operation]] = defaultdict(list)
    for operation in batch:
        if operation.abandoned:
            continue
        _take(operation)
        if operation.loop is None:
            _call_done([operation])
        else:
            by_loop[operation.loop].append(operation)
    for loop, operations in by_loop.items():
        try:
            loop.call_soon_threadsafe(_call_done, operations)
        except RuntimeError:
            continue  # the loop was closed: no caller waits for these answers


def _take(operation: Operation) -> None:
    """Pass the answer to `take`, even if the caller no longer waits for it."""
    take, operation.take = operation.take, None
    if take is not None:
        try:
            take(operation.result, operation.error)
        except Exception as error:  # a caller's mistake must not stop the others
            telemetry.answer_refused(error)
    for wake in operation.mark_answered():
        wake()


def _call_done(operations: Sequence[Operation]) -> None:
    for operation in operations:
        try:
            if operation.done is not None:
                operation.done(operation.result, operation.error)
        except Exception as error:  # a caller's mistake must not stop the others
            telemetry.answer_refused(error)


async def _answered(operation: Operation) -> None:
    """Wait for the answer, even if the caller is cancelled several times meanwhile."""
    loop, answered = asyncio.get_running_loop(), asyncio.Event()
    if not operation.call_at_answer(lambda: _call_in(loop, answered.set)):
        return
    while not answered.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await answered.wait()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nothing waits there
        loop.call_soon_threadsafe(callback)


def _report(result: Any, error: BaseException | None) -> None:
    """Log an error for which no caller waits."""
    if error is not None:
        telemetry.answer_refused(error)


def resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """Answer a future, unless it was cancelled or answered before."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
