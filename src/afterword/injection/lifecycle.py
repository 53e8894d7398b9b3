"""The lifecycle of an attempt: setup, body and teardown, in one asyncio task or in one thread.

All three run in the same task or thread, because a dependency may hold something that is bound to
it: a cancel scope, a task group, a lock. Cancelling reaches the setup and the body. From the first
teardown on, only `teardown_timeout` interrupts: a cancelled attempt must not leave a transaction
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

TEARDOWN_TIMEOUT = 30.0  # seconds until a hanging teardown is cancelled
_CUT_AGAIN = 0.05  # seconds until the rest of it is cancelled, if that hangs too


class Scoped(Protocol):
    """Opens the scopes of one function; implemented by `afterword.injection.needs.Needs`."""

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """Open a scope in an asyncio task."""

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """Open a scope in a thread."""


class Run:
    """One attempt in an asyncio task: setup, body, teardown. It can be called once.

    Args:
        needs: the needs of the function.
        provided: values of the built-in types.
        teardown_timeout: seconds that all teardowns together may take.

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
        self.leaving = False  # the teardown has begun: it must not be cancelled

    async def __call__(self, body: Callable[[Values], Awaitable[T]]) -> T:
        """Enter the scope, call the body, leave the scope; return what the body returns.

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
        """Cancel the setup or the body; the teardown is left to end by itself.

        Args:
            why: the exception that the dependencies receive, if it is a TimeoutError. Default: a
                CancelledError.
            body: False if the body runs in a thread, which cannot be stopped: cancel only the
                setup.

        Returns:
            True if something was cancelled.
        """
        if self._task is None or self.leaving or (self._entered and not body):
            return False
        self._why = why
        return self._task.cancel()

    def begin_leaving(self) -> None:
        """Start the time limit of the teardown; from now on nothing else cancels the attempt."""
        if not self.leaving:
            self.leaving = True
            self._timer = asyncio.get_running_loop().call_later(self._teardown_timeout, self._cut)

    def _cut(self) -> None:
        """Cancel a hanging teardown, and again each that hangs after it."""
        if self._task is not None:
            self._cuts += 1
            self._task.cancel(self._cut_off)
            self._timer = asyncio.get_running_loop().call_later(_CUT_AGAIN, self._cut)

    @property
    def _cut_off(self) -> str:
        return (
            f"A teardown may take {self._teardown_timeout:g} seconds, but this one took longer, so"
            " it was cancelled"
        )

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _ in range(self._cuts):
            if self._task is not None:
                self._task.uncancel()
        self._task = None


def run_sync(needs: Scoped, provided: Provided, body: Callable[[Values], T]) -> T:
    """Run an attempt in one thread; its needs must be `all_sync`."""
    with needs.sync_scope(provided) as values:
        return body(values)


async def uninterrupted(future: "asyncio.Future[T]") -> T:
    """Wait for a thread even when cancelled: its dependencies must stay open until it has ended."""
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
    """Run a call, which must not raise, in a thread; return a future of this event loop.

    Args:
        submit: hands a call to a thread.
        context: the context of the call.
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
    if not future.done():  # it is done if a teardown was cancelled meanwhile
        future.set_result(value)
