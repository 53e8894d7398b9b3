"""Storing entries of an outbox: one operation, whose answer several may wait for.

Whoever waits is only told; what the answer means for the entries is decided by their outbox, in the
store's thread. So a caller may be cancelled, or its event loop closed, at any moment.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
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
        answered: told the answer, once.
        taken_back: told instead, under the lock, that the operation was taken back in time.
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
        self._future: asyncio.Future[Any] | None = None

    @property
    def in_doubt(self) -> bool:
        """True if it failed, and is stored perhaps."""
        return self._operation.in_doubt

    def begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Hand the operation to the store; under the lock, so that operations keep their order.

        Args:
            loop: where `wait` will be called.
        """
        operation = self._operation
        if loop is not None:
            future = self._future = loop.create_future()
            operation.loop = loop
            operation.done = lambda result, error: resolve(future, None, error)
            self._waiters += 1
        operation.take = self._take
        self._group.submit(operation)

    def _take(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            answered, self._answered = self._answered, None  # nothing refers to itself afterwards
            if answered is None:  # taken back just now
                return
            self.error = error
        answered(self, result or (), error)

    # ------------------------------------------------------------------ waiting

    async def wait(self) -> None:
        """Wait for the answer, as the one for whom the operation was begun.

        Raises:
            StoreError: nothing of it was stored.
        """
        future, self._future = self._future, None
        if future is None:
            raise RuntimeError("the operation was begun for nobody in an event loop")
        await self._await(future)

    async def join(self) -> None:
        """Wait for the same answer, as somebody else."""
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
        """Wait in a time of one's own: the caller for whom it was begun may have left."""
        expiry = future.get_loop().call_later(self._timeout, self._expire, future)
        try:
            await future
        except asyncio.CancelledError:
            self._leave()
            raise
        finally:
            expiry.cancel()

    def wait_blocking(self, *, raises: bool) -> None:
        """The same for a thread.

        Args:
            raises: the entry that it waits for is among these, so that their error is its own.
        """
        answered = threading.Event()
        if self._operation.call_at_answer(answered.set) and not answered.wait(self._timeout):
            self._take_back_late()
            answered.wait()
        if raises and self.error is not None:
            raise self.error

    def _expire(self, future: "asyncio.Future[Any]") -> None:
        """End the wait, if the operation can be taken back or the request be refused."""
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
        """A caller was cancelled: if it was the only one, take the operation back if possible."""
        with self._lock:
            self._waiters -= 1
            unanswered = self._answered is not None
            if unanswered and self._waiters == 0 and self._operation.abandon():
                self._answered = None
                self._operation.mark_answered()
                self._taken_back(self)


def _wake(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]") -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nothing waits in it
        loop.call_soon_threadsafe(resolve, future, None, None)
