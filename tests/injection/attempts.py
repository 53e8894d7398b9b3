"""Calls that are added, and attempts that are run, as the two halves do it, but without a store."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from afterword.injection.lifecycle import Run, run_sync, uninterrupted
from afterword.injection.needs import Injection
from afterword.tasks.arguments import plan
from afterword.tasks.registry import is_async

T = TypeVar("T")
Function = Callable[..., Any]
NOTHING: Mapping[type, Any] = {}


def stored(injection: Injection, func: Function, *args: Any, **kwargs: Any) -> str:
    """Return a call's arguments as `add_task` would store them."""
    func = injection.unwrap(func)
    return plan(func, injection.of(func).names).encode(args, kwargs)


def attempt(
    injection: Injection,
    func: Function,
    *args: Any,
    provided: Mapping[type, Any] = NOTHING,
    **kwargs: Any,
) -> Any:
    """Store a call and run it: `async def` in an event loop, `def` in a thread."""
    text = stored(injection, func, *args, **kwargs)
    return run(injection, func, text, provided)


def run(injection: Injection, func: Function, text: str, provided: Mapping[type, Any]) -> Any:
    """Run a stored call."""
    func = injection.unwrap(func)
    if is_async(func) or not injection.of(func).all_sync:
        return asyncio.run(run_in_loop(injection, func, text, provided))
    return in_thread(lambda: _run_in_thread(injection, func, text, provided))


async def attempt_in_loop(
    injection: Injection, func: Function, *args: Any, provided: Mapping[type, Any] = NOTHING
) -> Any:
    """Store a call and run it in the running event loop."""
    text = stored(injection, func, *args)
    return await run_in_loop(injection, injection.unwrap(func), text, provided)


async def run_in_loop(
    injection: Injection, func: Function, text: str, provided: Mapping[type, Any]
) -> Any:
    needs = injection.of(func)
    planned = plan(func, needs.names)
    decoded = planned.decode(text)

    def body(values: dict[str, Any]) -> Awaitable[Any]:
        args, kwargs = planned.complete(*decoded, values)
        if is_async(func):
            return func(*args, **kwargs)  # type: ignore[no-any-return]
        here = contextvars.copy_context()  # the thread sees values that dependencies have set
        call = functools.partial(here.run, functools.partial(func, *args, **kwargs))
        return uninterrupted(asyncio.get_running_loop().run_in_executor(None, call))

    return await Run(needs, provided)(body)


def _run_in_thread(
    injection: Injection, func: Function, text: str, provided: Mapping[type, Any]
) -> Any:
    needs = injection.of(func)
    planned = plan(func, needs.names)
    decoded = planned.decode(text)

    def body(values: dict[str, Any]) -> Any:
        args, kwargs = planned.complete(*decoded, values)
        return func(*args, **kwargs)

    return run_sync(needs, provided, body)


def in_thread(call: Callable[[], T]) -> T:
    """Call in a new thread; returns or raises the same."""
    ended: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            ended.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return ended[0]
