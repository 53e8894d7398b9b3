"""What a task needs is entered, the task runs, and all is left again: in one order, to one end.

The rules, which Python's own exit stacks do not have:

- what was entered last is left first, and each is left, whatever the others raise;
- each is told of the exception with which the task ended, also if one before it swallowed it: an
  attempt has failed when its body has, and nobody turns that into a success;
- the first exception wins; what is raised later, while leaving, is noted on it. If the body
  succeeded, the first exception of the teardown becomes the attempt's, and the rest is told of it.
"""

import contextlib
import functools
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
Values = dict[str, Any]  # what the injected parameters are called with, by name
Provided = Mapping[type, Any]  # what is ours to give: the attempt's context, its progress, ...
Leave = Callable[[BaseException | None], BaseException | None]
AsyncLeave = Callable[[BaseException | None], Awaitable[BaseException | None]]

# Called whenever an asyncio task begins to leave something; `lifecycle` sets it.
on_leaving: ContextVar[Callable[[], None] | None] = ContextVar("afterword_leaving", default=None)


def winner(error: BaseException | None, raised: BaseException) -> BaseException:
    """The exception an attempt ends with, when leaving raised one after `error`."""
    if error is None:
        return raised
    if raised is not error:
        with contextlib.suppress(Exception):  # an exception may refuse to have notes
            error.add_note(f"The teardown that followed raised {_described(raised)}")
    return error


def _described(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_described(each) for each in error.exceptions)
    return "".join(traceback.format_exception_only(error)).strip()


def told(error: BaseException | None) -> tuple[Any, Any, Any]:
    """What `__exit__` is told of an exception."""
    return (type(error), error, error.__traceback__) if error is not None else (None, None, None)


class Stack:
    """What one thread has entered."""

    def __init__(self) -> None:
        self._leaves: list[Leave] = []

    def enter(self, manager: AbstractContextManager[T]) -> T:
        """Enter it, and remember to leave it."""
        value = manager.__enter__()
        self._leaves.append(functools.partial(_left, manager))
        return value

    def push(self, leave: Leave) -> None:
        """Remember to call this with the exception; it returns the one that won, or raises."""
        self._leaves.append(leave)

    def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave all; returns the exception that won."""
        while self._leaves:
            try:
                error = self._leaves.pop()(error)
            except BaseException as raised:
                error = winner(error, raised)
        return error


def _left(
    manager: AbstractContextManager[Any], error: BaseException | None
) -> BaseException | None:
    manager.__exit__(*told(error))
    return error


class AsyncStack:
    """What one asyncio task has entered."""

    def __init__(self) -> None:
        self._leaves: list[AsyncLeave] = []

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter it, and remember to leave it."""
        value = await manager.__aenter__()
        self._leaves.append(functools.partial(_left_async, manager))
        return value

    def push(self, leave: AsyncLeave) -> None:
        """Remember to await this with the exception; it returns the one that won, or raises."""
        self._leaves.append(leave)

    def push_sync(self, leave: Leave) -> None:
        """The same for what need not be awaited."""
        self._leaves.append(functools.partial(_at_once, leave))

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave all; returns the exception that won."""
        begin = on_leaving.get()
        if begin is not None:
            begin()
        while self._leaves:
            try:
                error = await self._leaves.pop()(error)
            except BaseException as raised:
                error = winner(error, raised)
        return error


async def _left_async(
    manager: AbstractAsyncContextManager[Any], error: BaseException | None
) -> BaseException | None:
    await manager.__aexit__(*told(error))
    return error


async def _at_once(leave: Leave, error: BaseException | None) -> BaseException | None:
    return leave(error)


class SyncScope:
    """A base of scopes that one thread enters: `_enter` what there is into `stack`."""

    def __init__(self) -> None:
        self.stack = Stack()

    def _enter(self) -> Values:
        raise NotImplementedError

    def __enter__(self) -> Values:
        try:
            return self._enter()
        except BaseException as error:
            self.stack.leave(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        ended = self.stack.leave(error)
        if ended is not None and ended is not error:
            raise ended


class AsyncScope:
    """A base of scopes that one asyncio task enters: `_enter` what there is into `stack`."""

    def __init__(self) -> None:
        self.stack = AsyncStack()

    async def _enter(self) -> Values:
        raise NotImplementedError

    async def __aenter__(self) -> Values:
        try:
            return await self._enter()
        except BaseException as error:
            await self.stack.leave(error)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        ended = await self.stack.leave(error)
        if ended is not None and ended is not error:
            raise ended
