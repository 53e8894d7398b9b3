"""dishka's `FromDishka[T]` in tasks.

    async def send(user_id: UUID, mail: FromDishka[Mailer]) -> None: ...

Objects of the request scope are created for each attempt; objects of the application scope are
shared. A factory receives the exception of a failed attempt as usual in dishka: `yield` returns it.
"""

import types
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from dishka import DEFAULT_COMPONENT, AsyncContainer, Container, DependencyKey
from dishka.exceptions import ExitError
from dishka.integrations.base import default_parse_dependency

from afterword.errors import InjectionError, NoContainer
from afterword.injection.needs import Function
from afterword.injection.scope import (
    AsyncScope,
    Provided,
    SyncScope,
    Values,
    leaving,
    leaving_async,
)
from afterword.tasks.signature import name_of, parameters

Keys = Mapping[str, DependencyKey]


class DishkaInjector:
    """Fills the parameters that are annotated with `FromDishka`.

    Args:
        container: the root container. Default: the one that `setup_dishka` has put into
            `app.state`.
        app: the application.

    Example:
        afterword = Afterword(app, injectors=[DishkaInjector(container)])
    """

    name = "dishka"

    def __init__(
        self, container: AsyncContainer | Container | None = None, *, app: Any = None
    ) -> None:
        self._given, self._app = container, app

    @property
    def container(self) -> AsyncContainer | Container | None:
        """The root container, if there is one by now."""
        state = getattr(self._app, "state", None)
        return self._given or getattr(state, "dishka_container", None)

    def unwrap(self, func: Function, /) -> Function:
        """Return the function inside a wrapper of dishka's `inject`; any other unchanged."""
        if isinstance(func, types.FunctionType) and func.__code__.co_name.startswith(
            "dishka_func_"
        ):
            inner: Function = vars(func).get("__dishka_orig_func__", func)
            return inner
        return func

    def bind(self, func: Function, /) -> "BoundDishka | None":
        """Find the parameters to inject; see `afterword.injection.needs.Injector`."""
        keys = dict(_keys(func))
        if not keys:
            return None
        container = self.container
        if container is None and self._app is not None:
            raise NoContainer(
                f"{name_of(func)} needs a dishka container for {', '.join(keys)}, but this"
                " application has none. Call `setup_dishka(container, app)`, or pass it to"
                " Afterword: `Afterword(app, injectors=[DishkaInjector(container)])`."
            )
        for name, key in keys.items():
            if container is not None and not _is_known(container, key):
                raise InjectionError(
                    f"{name_of(func)} cannot run in a worker: its parameter {name!r} needs"
                    f" {key.type_hint!r}, but no provider of its dishka container makes it."
                    " Add one."
                )
        return BoundDishka(self, func, keys)


def _keys(func: Function) -> Iterator[tuple[str, DependencyKey]]:
    try:
        found = parameters(func)
    except (TypeError, ValueError):
        return
    for parameter in found:
        key = default_parse_dependency(parameter, parameter.annotation)
        if key is not None:
            yield parameter.name, key


def _is_known(container: Any, key: DependencyKey) -> bool:
    """Return True if some scope of the container has a factory, or if that cannot be determined.

    The registries are internals of dishka, which a later release may change.
    """
    try:
        registries = [container.registry]
        while (inner := registries[-1].child_registry) is not None:
            registries.append(inner)
        while (container := container.parent_container) is not None:
            registries.append(container.registry)
        return any(registry.get_factory(key) is not None for registry in registries)
    except AttributeError:
        return True


class BoundDishka:
    """The dishka parameters of one function."""

    def __init__(self, injector: DishkaInjector, func: Function, keys: Keys) -> None:
        self.names = frozenset(keys)
        self._injector, self._func, self._keys = injector, func, keys
        self._asked: tuple[type, ...] | None = None

    @property
    def all_sync(self) -> bool:
        """Return True if the container is synchronous."""
        return isinstance(self._injector.container, Container)

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        return _Scope(self._container, self._keys, self.context(provided))

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        container = self._container
        if not isinstance(container, Container):
            raise InjectionError(
                f"Only a synchronous dishka container can be used in a thread, but that of"
                f" {name_of(self._func)} is asynchronous. Make the task `async def`."
            )
        return _SyncScope(container, self._keys, self.context(provided))

    def context(self, provided: Provided) -> dict[Any, Any]:
        """Select the provided values that the container has factories for; skip the others."""
        if self._asked is None:
            container = self._container
            self._asked = tuple(
                kind
                for kind in provided
                if _is_known(container, DependencyKey(kind, DEFAULT_COMPONENT))
            )
        return {kind: provided[kind] for kind in self._asked}

    @property
    def _container(self) -> AsyncContainer | Container:
        container = self._injector.container
        if container is None:
            raise InjectionError(
                f"{name_of(self._func)} needs a dishka container for {', '.join(self._keys)}, but"
                " this process has no application with one."
            )
        return container


class _SyncScope(SyncScope):
    def __init__(self, container: Container, keys: Keys, context: dict[Any, Any]) -> None:
        super().__init__()
        self._container, self._keys, self._context = container, keys, context

    def _enter(self) -> Values:
        manager = self._container(context=self._context)
        scoped = manager.__enter__()
        self.stack.push(leaving(manager, ExitError))
        return {
            name: scoped.get(key.type_hint, component=key.component)
            for name, key in self._keys.items()
        }


class _Scope(AsyncScope):
    def __init__(
        self, container: AsyncContainer | Container, keys: Keys, context: dict[Any, Any]
    ) -> None:
        super().__init__()
        self._container, self._keys, self._context = container, keys, context

    async def _enter(self) -> Values:
        if isinstance(self._container, Container):
            scope = _SyncScope(self._container, self._keys, self._context)
            values = scope.__enter__()
            self.stack.push_sync(scope.stack.leave)
            return values
        manager = self._container(context=self._context)
        scoped = await manager.__aenter__()
        self.stack.push(leaving_async(manager, ExitError))
        return {
            name: await scoped.get(key.type_hint, component=key.component)
            for name, key in self._keys.items()
        }
