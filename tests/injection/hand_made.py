"""An injector made by hand, for tests that hold for every framework."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from afterword.injection.needs import Injection
from afterword.tasks.signature import hints

Function = Callable[..., Any]


class Marker:
    """A marker for `Annotated[str, Marker()]`; like Wireup's, it raises for every attribute."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")


class Wrapper:
    """A wrapper of a framework around a function, which only the framework can remove."""

    def __init__(self, func: Function) -> None:
        functools.update_wrapper(self, func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a worker calls what is inside")


class HandMade:
    """An injector that fills each `Annotated[str, Marker()]` with the parameter's name.

    Args:
        log: notes entering and leaving, with exceptions.
        failing: "enter" or "leave": raise there; "swallow": swallow the task's exception.
    """

    def __init__(
        self,
        log: list[str] | None = None,
        marker: type = Marker,
        failing: str = "",
        name: str = "hand-made",
    ) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.marker, self.failing = marker, failing
        self.asked: list[Function] = []

    def unwrap(self, func: Function, /) -> Function:
        return func.__wrapped__ if isinstance(func, Wrapper) else func  # type: ignore[attr-defined]

    def bind(self, func: Function, /) -> "HandMadeBound | None":
        self.asked.append(func)
        names = [
            parameter.name
            for parameter, hint in hints(func)
            if any(type(said) is self.marker for said in hint.metadata)
        ]
        return HandMadeBound(self, frozenset(names)) if names else None


class HandMadeBound:
    """The injected parameters of one function."""

    all_sync = True

    def __init__(self, injector: HandMade, names: frozenset[str]) -> None:
        self.names = names
        self._injector = injector

    def sync_scope(self, provided: Mapping[type, Any]) -> AbstractContextManager[dict[str, Any]]:
        return self._entered()

    @contextlib.contextmanager
    def _entered(self) -> Iterator[dict[str, Any]]:
        log, name = self._injector.log, ",".join(sorted(self.names))
        failing = self._injector.failing
        if failing == "enter":
            raise LookupError(f"{name} cannot be had")
        log.append(f"enter {name}")
        try:
            yield {each: each for each in self.names}
        except BaseException as error:
            log.append(f"leave {name}: {type(error).__name__}")
            if failing == "leave":
                raise OSError(f"{name} cannot be left") from error
            if failing != "swallow":
                raise
        else:
            log.append(f"leave {name}")
            if failing == "leave":
                raise OSError(f"{name} cannot be left")

    def scope(self, provided: Mapping[type, Any]) -> AbstractAsyncContextManager[dict[str, Any]]:
        return self._entered_async()

    @contextlib.asynccontextmanager
    async def _entered_async(self) -> AsyncIterator[dict[str, Any]]:
        with self._entered() as values:
            yield values


def injection_of(*injectors: HandMade, builtin_types: tuple[type, ...] = ()) -> Injection:
    """Return an injection with these injectors."""
    return Injection(lambda: injectors, builtin_types)
