"""Calls that run in their request: they cannot be stored, or the application is not started.

They run where Starlette would run them, and are given what a worker would give them.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from anyio import from_thread
from starlette.concurrency import run_in_threadpool

from afterword import lifecycle
from afterword.injection import Injection, Needs
from afterword.lifecycle import Run
from afterword.scope import Provided, Values
from afterword.task import is_async

Function = Callable[..., Any]


async def call(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Call a task as Starlette does: `async def` here, `def` in a thread."""
    if is_async(func):
        await func(*args, **kwargs)
        return
    result = await run_in_threadpool(functools.partial(func, *args, **kwargs))
    if isinstance(result, Awaitable):
        await result


async def call_injected(
    injection: Injection,
    provided: Provided,
    func: Function,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Call a task with what it asks for, in a scope of its own: not in that of the request.

    Raises:
        InjectionError: something it asks for can never be had without a request.
        TypeError: the arguments do not fit what is left of its signature.
    """
    inner = injection.unwrap(func)
    needs = injection.of(inner)
    if not needs and not needs.scoped:
        await call(func, args, kwargs)
        return
    complete = _completing(inner, needs, args, kwargs)
    if needs.scoped and needs.all_sync and not is_async(inner):
        await run_in_threadpool(lifecycle.run_sync, needs, provided, lambda v: _here(complete(v)))
    else:
        await Run(needs, provided)(lambda values: call(complete(values), (), {}))


def _completing(
    func: Function, needs: Needs, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[Values], Function]:
    """What takes the injected values, and returns the call with all of its arguments."""
    whole = inspect.signature(func)
    rest = [each for each in whole.parameters.values() if each.name not in needs.names]
    given = whole.replace(parameters=rest).bind(*args, **kwargs).arguments

    def complete(values: Values) -> Function:
        bound = whole.bind_partial()
        bound.arguments.update({**given, **values})
        return functools.partial(func, *bound.args, **bound.kwargs)

    return complete


def _here(func: Function) -> None:
    """In the thread in which its dependencies have been entered."""
    result = func()
    if isinstance(result, Awaitable):
        from_thread.run(_wait_for, result)


async def _wait_for(awaitable: Awaitable[Any]) -> None:
    await awaitable
