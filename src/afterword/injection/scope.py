"""Scopes of attempts: the dependencies are entered, the task runs, the dependencies are left.

The rules differ from those of Python's exit stacks:

- The dependencies are left in reverse order, and each is left, even if others raise.
- Each receives the exception of the task, even if another one suppressed it: an attempt whose body
  failed has failed, and no dependency can turn that into a success.
- The first exception wins; exceptions that are raised later, while leaving, are added to it as
  notes. If the body succeeded, the first exception of the teardown becomes the attempt's, and the
  remaining dependencies receive it.
"""

import contextlib
import functools
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
Values = dict[str, Any]  # the values of the injected parameters, by name
Provided = Mapping[type, Any]  # the values of the built-in types: context, progress, ...
Leave = Callable[[BaseException | None], BaseException | None]
AsyncLeave = Callable[[BaseException | None], Awaitable[BaseException | None]]

# Called whenever an asyncio task begins to leave a scope; `lifecycle` sets it.
on_leaving: ContextVar[Callable[[], None] | None] = ContextVar("afterword_leaving", default=None)


def winner(error: BaseException | None, raised: BaseException) -> BaseException:
    """Return the exception that an attempt ends with, if leaving raised one after `error`."""
    if error is None:
        return raised
    if raised is not error:
        with contextlib.suppress(Exception):  # an exception may refuse notes
            error.add_note(f"The teardown that followed raised {_described(raised)}")
    return error


def _described(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_described(each) for each in error.exceptions)
    return "".join(traceback.format_exception_only(error)).strip()


def exit_arguments(error: BaseException | None) -> tuple[Any, Any, Any]:
    """Return the arguments of `__exit__` for an exception."""
    return (type(error), error, error.__traceback__) if error is not None else (None, None, None)


class Stack:
    """The context managers that one thread has entered."""

    def __init__(self) -> None:
        self._leaves: list[Leave] = []

    def enter(self, manager: AbstractContextManager[T]) -> T:
        """Enter a context manager; `leave` leaves it."""
        value = manager.__enter__()
        self._leaves.append(functools.partial(_left, manager))
        return value

    def push(self, leave: Leave) -> None:
        """Add a callback for `leave`: it takes the exception, and returns or raises the winner."""
        self._leaves.append(leave)

    def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave all, in reverse order; return the exception that won."""
        while self._leaves:
            try:
                error = self._leaves.pop()(error)
            except BaseException as raised:
                error = winner(error, raised)
        return error


def leaving(manager: AbstractContextManager[Any], group: type[ExceptionGroup[Any]]) -> Leave:
    """Return a callback that leaves a framework's scope, for `Stack.push`.

    Args:
        group: the exception in which the framework collects the errors of its factories.
    """

    def leave(error: BaseException | None) -> BaseException | None:
        try:
            manager.__exit__(*exit_arguments(error))
        except group as raised:
            return winner(error, _only(raised))
        return error

    return leave


def leaving_async(
    manager: AbstractAsyncContextManager[Any], group: type[ExceptionGroup[Any]]
) -> AsyncLeave:
    """Return the same for `AsyncStack.push`."""

    async def leave(error: BaseException | None) -> BaseException | None:
        try:
            await manager.__aexit__(*exit_arguments(error))
        except group as raised:
            return winner(error, _only(raised))
        return error

    return leave


def _only(group: ExceptionGroup[Any]) -> BaseException:
    """Return the exception of the factory if there is only one; else the group."""
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def _left(
    manager: AbstractContextManager[Any], error: BaseException | None
) -> BaseException | None:
    manager.__exit__(*exit_arguments(error))
    return error


class AsyncStack:
    """The context managers that one asyncio task has entered."""

    def __init__(self) -> None:
        self._leaves: list[AsyncLeave] = []

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager; `leave` leaves it."""
        value = await manager.__aenter__()
        self._leaves.append(functools.partial(_left_async, manager))
        return value

    def push(self, leave: AsyncLeave) -> None:
        """Add a coroutine function for `leave`; see `Stack.push`."""
        self._leaves.append(leave)

    def push_sync(self, leave: Leave) -> None:
        """Add a callback for `leave` that is not awaited."""
        self._leaves.append(functools.partial(_at_once, leave))

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave all, in reverse order; return the exception that won."""
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
    await manager.__aexit__(*exit_arguments(error))
    return error


async def _at_once(leave: Leave, error: BaseException | None) -> BaseException | None:
    return leave(error)


class SyncScope:
    """Base of scopes in one thread: `_enter` enters the dependencies into `stack`."""

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
    """Base of scopes in one asyncio task: `_enter` enters the dependencies into `stack`."""

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
