"""Helpers of several tests of `Depends`."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any


class Context:
    """A type that the worker itself provides."""


class Log(list[str]):
    """A log of events, and of their threads."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def add(self, text: str) -> None:
        self.append(text)
        self.threads.append(threading.get_ident())


def both_kinds(func: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return a `def` task, and the same as an `async def` one."""

    @functools.wraps(func)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args, **kwargs)

    return [func, awaited]
