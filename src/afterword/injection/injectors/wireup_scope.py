"""Wireup's scope for one attempt, and the functions that take the values out of it."""

import functools
import inspect
from collections.abc import Sequence
from contextvars import ContextVar, Token
from typing import Any, cast

from wireup import (
    AsyncContainer,
    ScopedAsyncContainer,
    ScopedSyncContainer,
    SyncContainer,
    inject_from_container,
)
from wireup.errors import ContainerCloseError, WireupError
from wireup.integration.starlette import request_container
from wireup.ioc.container.async_container import async_container_force_sync_scope
from wireup.ioc.types import AnnotatedParameter, ConfigInjectionRequest, get_container_object_id

from afterword.injection.needs import Function
from afterword.injection.scope import (
    AsyncScope,
    Provided,
    SyncScope,
    Values,
    leaving,
    leaving_async,
)
from afterword.tasks.signature import parameters

Container = AsyncContainer | SyncContainer

# Wireup's `inject` looks for the scope here; typed for both kinds of scopes.
_current = cast("ContextVar[ScopedAsyncContainer | ScopedSyncContainer]", request_container)


class Compiled:
    """The functions that return the values, compiled by Wireup for one container."""

    def __init__(
        self,
        container: Container,
        func: Function,
        asked: Sequence[AnnotatedParameter],
        *,
        filled: bool,
    ) -> None:
        self.container = container
        self.all_sync = not any(_is_async(container, parameter) for parameter in asked)
        if isinstance(container, SyncContainer) and not self.all_sync:
            raise WireupError("it needs an async factory, but its container is synchronous.")
        self._asked: tuple[type, ...] | None = None
        self._fill: Function = dict
        self._fill_async: Function | None = None
        if filled:
            inject = inject_from_container(container, request_container.get)
            self._fill = inject(catching(func))
            if isinstance(container, AsyncContainer):
                self._fill_async = inject(catching_async(func))

    def enter(self, provided: Provided) -> ScopedSyncContainer:
        """Make a scope for a thread."""
        if isinstance(self.container, SyncContainer):
            return self.container.enter_scope(self.context(provided))
        return async_container_force_sync_scope(self.container, self.context(provided))

    def context(self, provided: Provided) -> dict[Any, Any]:
        """Select the provided values that the container has factories for; skip the others."""
        if self._asked is None:
            self._asked = tuple(kind for kind in provided if _is_known(self.container, kind))
        return {kind: provided[kind] for kind in self._asked}

    def fill(self) -> Values:
        """Return the values by name; call it in a scope."""
        values: Values = self._fill()
        return values

    async def fill_async(self) -> Values:
        """Return the values by name; call it in a scope."""
        values: Values = await self._fill_async() if self._fill_async else self._fill()
        return values


def catching(func: Function) -> Function:
    """Make a function with the same injected parameters, which returns their values."""

    def catch(**values: Any) -> Values:
        return values

    return _like(func, catch)


def catching_async(func: Function) -> Function:
    async def catch(**values: Any) -> Values:
        return values

    return _like(func, catch)


def _like(func: Function, catch: Function) -> Function:
    functools.update_wrapper(catch, func)
    # With string annotations resolved: some releases do not look them up in func's module.
    catch.__signature__ = inspect.Signature(parameters(func))  # type: ignore[attr-defined]
    return catch


def _is_async(container: Container, parameter: AnnotatedParameter) -> bool:
    """Return True if its factory is `async`, or if that cannot be determined.

    The factories are internals of Wireup, which a later release may change.
    """
    if isinstance(parameter.annotation, ConfigInjectionRequest):
        return False
    wanted = get_container_object_id(parameter.klass, parameter.qualifier_value)
    try:
        return container._scoped_compiler.factories[wanted].is_async
    except (AttributeError, KeyError):
        return True


def _is_known(container: Container, kind: type) -> bool:
    """Return True if the container can make it, or if that is unknown; see `_is_async`."""
    try:
        return get_container_object_id(kind, None) in container._scoped_compiler.factories
    except AttributeError:
        return True


class WireupSyncScope(SyncScope):
    def __init__(self, compiled: Compiled, provided: Provided) -> None:
        super().__init__()
        self._compiled, self._provided = compiled, provided

    def _enter(self) -> Values:
        scoped = self._compiled.enter(self._provided)
        self.stack.push(leaving(scoped.__enter__(), ContainerCloseError))
        token = _current.set(scoped)
        self.stack.push(functools.partial(_forgotten, token))
        return self._compiled.fill()


class WireupScope(AsyncScope):
    def __init__(self, compiled: Compiled, provided: Provided) -> None:
        super().__init__()
        self._compiled, self._provided = compiled, provided

    async def _enter(self) -> Values:
        container = self._compiled.container
        if isinstance(container, SyncContainer):
            scope = WireupSyncScope(self._compiled, self._provided)
            values = scope.__enter__()
            self.stack.push_sync(scope.stack.leave)
            return values
        scoped = container.enter_scope(self._compiled.context(self._provided))
        self.stack.push(leaving_async(await scoped.__aenter__(), ContainerCloseError))
        token = _current.set(scoped)
        self.stack.push_sync(functools.partial(_forgotten, token))
        return await self._compiled.fill_async()


def _forgotten(token: Token[Any], error: BaseException | None) -> BaseException | None:
    _current.reset(token)
    return error
