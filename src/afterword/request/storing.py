"""Storing entries of an outbox: one operation, for whose answer several callers may wait.

The outbox applies the answer to its entries, in the store's thread. The callers are only woken. So
a caller may be cancelled, or its event loop closed, at any moment.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from afterword.client.group_commit import resolve
from afterword.client.operation import adding
from afterword.store.protocol import Added

if TYPE_CHECKING:
    from afterword.request.intake import Intake
    from afterword.request.outbox import Entry

Answered = Callable[["Storing", Sequence[Added], BaseException | None], None]
Refuse = Callable[[BaseException], bool]


class Storing:
    """One operation that stores entries.

    Args:
        lock: of the entries' outbox.
        answered: called with the answer, once.
        taken_back: called instead, under the lock, if the operation was taken back in time.
        refuse: called with the error when the time is over and the commit goes on; returns True if
            the request is refused now, so that its callers need not wait for the answer.
    """

    def __init__(
        self,
        entries: Sequence["Entry"],
        intake: "Intake",
        lock: threading.RLock,
        answered: Answered,
        taken_back: Callable[["Storing"], None],
        refuse: Refuse,
    ) -> None:
        self.entries = entries
        self.worker, self.now = intake.worker_id, intake.now()
        self.error: BaseException | None = None
        self._operation = adding([each.job for each in entries], self.worker)
        self._group, self._timeout = intake.group, intake.store_timeout
        self._lock = lock
        self._answered: Answered | None = answered
        self._taken_back = taken_back
        self._refuse = refuse
        self._waiters = 0
        self._submitted = False
        self._future: asyncio.Future[Any] | None = None

    @property
    def in_doubt(self) -> bool:
        """True if it failed, but the entries may be stored nevertheless."""
        return self._operation.in_doubt

    def begin(self, loop: asyncio.AbstractEventLoop | None, *, blocks: bool = False) -> None:
        """Submit the operation; under the lock, so that operations keep their order.

        Args:
            loop: the event loop in which `wait` will be called, if any.
            blocks: the caller calls `wait_blocking` next, outside of the lock; that submits it.
        """
        operation = self._operation
        if loop is not None:
            future = self._future = loop.create_future()
            operation.loop = loop
            operation.done = lambda result, error: resolve(future, None, error)
            self._waiters += 1
        operation.take = self._take
        self._submitted = not blocks
        if self._submitted:
            self._group.submit(operation)

    def _take(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            answered, self._answered = self._answered, None  # no reference cycle is left
            if answered is None:  # taken back just now
                return
            self.error = error
        answered(self, result or (), error)

    # ------------------------------------------------------------------ waiting

    def wait(self) -> Coroutine[Any, Any, None]:
        """Wait for the answer, as the caller that began the operation; to be awaited.

        Raises:
            StoreError: no entry was stored.
        """
        future, self._future = self._future, None
        if future is None:
            raise RuntimeError("wait() must follow begin(loop), but there was no event loop")
        return self._await(future)

    async def join(self) -> None:
        """Wait for the answer, as another caller."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            waits = self._operation.call_at_answer(lambda: _wake(loop, future))
            self._waiters += waits
        if waits:
            await self._await(future)
        if self.error is not None:
            raise self.error

    async def _await(self, future: "asyncio.Future[Any]") -> None:
        """Wait with a timeout of this caller: the one that began the operation may have left."""
        expiry = future.get_loop().call_later(self._timeout, self._expire, future)
        try:
            await future
        except asyncio.CancelledError:
            self._leave()
            raise
        finally:
            expiry.cancel()

    def wait_blocking(self, *, raises: bool) -> None:
        """Wait for the answer in a thread.

        Args:
            raises: raise the operation's error, because the caller's entry is part of it.
        """
        with self._lock:
            submitted, self._submitted = self._submitted, True
        if not submitted:
            self._group.submit_blocking(self._operation, self._timeout)
        answered = threading.Event()
        if self._operation.call_at_answer(answered.set) and not answered.wait(self._timeout):
            self._take_back_late()
            answered.wait()
        if raises and self.error is not None:
            raise self.error

    def _expire(self, future: "asyncio.Future[Any]") -> None:
        """End the wait, if the operation can be taken back or the request be refused."""
        if self._answered is None:  # the answer is there, and the caller about to be woken
            return
        if self._take_back_late():
            return
        error = self._group.timed_out(committing=True)
        if self._refuse(error):
            self.error = self.error or error
            resolve(future, None, error)

    def _take_back_late(self) -> bool:
        """Take the operation back because the time is over; False: it is being committed."""
        operation = self._operation
        if not operation.abandon():
            return False
        error = self._group.timed_out()
        self._take(None, error)
        for wake in operation.mark_answered():
            wake()
        if operation.done is not None:
            operation.done(None, error)
        return True

    def _leave(self) -> None:
        """Take the operation back, if possible, when its only caller was cancelled."""
        with self._lock:
            self._waiters -= 1
            unanswered = self._answered is not None
            if unanswered and self._waiters == 0 and self._operation.abandon():
                self._answered = None
                self._operation.mark_answered()
                self._taken_back(self)


def _wake(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]") -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nothing waits there
        loop.call_soon_threadsafe(resolve, future, None, None)
