"""One attempt in its scope: setup, body and teardown, in one asyncio task or in one thread.

In one and the same, because a dependency may hold open what belongs to it: a cancel scope, a task
group, a lock. Cancelling reaches the setup and the body. From the first teardown on only
`teardown_timeout` ends what does not end: an attempt that is to stop must not leave a transaction
open.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeVar

from afterword.injection.scope import Provided, Values, on_leaving

T = TypeVar("T")

TEARDOWN_TIMEOUT = 30.0  # seconds until a teardown that does not end is cut off
_CUT_AGAIN = 0.05  # seconds until the rest of it is, if it does not end either


class Scoped(Protocol):
    """What opens the scopes of one function; `afterword.injection.needs.Needs` is it."""

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """For an asyncio task."""

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """For a thread."""


class Run:
    """One attempt in an asyncio task: setup, body, teardown. Good for one call.

    Args:
        needs: what the function needs.
        provided: what is ours to give.
        teardown_timeout: seconds all teardowns together may take.

    Example:
        run = Run(needs, {TaskContext: context})
        await run(lambda values: send(user_id, **values))
    """

    def __init__(
        self,
        needs: Scoped,
        provided: Provided,
        *,
        teardown_timeout: float = TEARDOWN_TIMEOUT,
    ) -> None:
        self._needs, self._provided = needs, provided
        self._teardown_timeout = teardown_timeout
        self._task: asyncio.Task[Any] | None = None
        self._why: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cuts = 0
        self._entered = False
        self._succeeded = False
        self.begun = False
        self.leaving = False  # the teardown has begun: it is not to be cancelled

    async def __call__(self, body: Callable[[Values], Awaitable[T]]) -> T:
        """Enter, call, leave; returns what the body returns.

        Raises:
            BaseException: the first exception of the body, or of the teardown after it.
        """
        self._task = asyncio.current_task()
        self.begun = True
        token = on_leaving.set(self.begin_leaving)
        try:
            async with self._needs.scope(self._provided) as values:
                return await self._call(body, values)
        except asyncio.CancelledError as error:
            if self._cuts and self._succeeded:
                raise TimeoutError(self._cut_off) from error
            raise
        finally:
            self._end()
            on_leaving.reset(token)

    async def _call(self, body: Callable[[Values], Awaitable[T]], values: Values) -> T:
        self._entered = True
        try:
            result = await body(values)
            self._succeeded = True
            return result
        except asyncio.CancelledError as error:
            if self._task is None or not isinstance(self._why, TimeoutError):
                raise
            self._task.uncancel()
            raise self._why from error
        finally:
            self.begin_leaving()

    def cancel(self, why: BaseException | None = None, *, body: bool = True) -> bool:
        """Cancel what is under way, unless it is the teardown, which ends by itself.

        Args:
            why: what the dependencies are told, if it is a TimeoutError. Default: that the body
                was cancelled.
            body: False if the body runs in a thread, which nobody can stop: then only the setup.

        Returns:
            Whether something was cancelled.
        """
        if self._task is None or self.leaving or (self._entered and not body):
            return False
        self._why = why
        return self._task.cancel()

    def begin_leaving(self) -> None:
        """From here on only the time for teardowns counts."""
        if not self.leaving:
            self.leaving = True
            self._timer = asyncio.get_running_loop().call_later(self._teardown_timeout, self._cut)

    def _cut(self) -> None:
        """End the teardown that hangs; again for each that hangs after it."""
        if self._task is not None:
            self._cuts += 1
            self._task.cancel(self._cut_off)
            self._timer = asyncio.get_running_loop().call_later(_CUT_AGAIN, self._cut)

    @property
    def _cut_off(self) -> str:
        return (
            f"The teardown was cut off, as it took longer than {self._teardown_timeout:g} seconds"
        )

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _ in range(self._cuts):
            if self._task is not None:
                self._task.uncancel()
        self._task = None


def run_sync(needs: Scoped, provided: Provided, body: Callable[[Values], T]) -> T:
    """The same in one thread, if all that is needed can be had there."""
    with needs.sync_scope(provided) as values:
        return body(values)


async def uninterrupted(future: "asyncio.Future[T]") -> T:
    """Wait for a thread, also when cancelled: what it uses must stay open until it has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


def in_thread(
    submit: Callable[[Callable[[], None]], object],
    context: contextvars.Context,
    call: Callable[[], T],
) -> "asyncio.Future[T]":
    """Have a thread call what never raises; the future is of this event loop.

    Args:
        submit: gives a call to some thread.
        context: in which it is called.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        value = context.run(call)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(_deliver, future, value)

    submit(work)
    return future


def _deliver(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():  # it is if nobody waits any more, because a teardown was cut off
        future.set_result(value)
