"""dishka's `FromDishka[T]` in tasks.

    async def send(user_id: UUID, mail: FromDishka[Mailer]) -> None: ...

What belongs to a request's scope is made anew for each attempt; what belongs to the application is
shared with it. Factories get the exception of a failed attempt as dishka hands it out: `yield`
returns it.
"""

import functools
import types
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from dishka import DEFAULT_COMPONENT, AsyncContainer, Container, DependencyKey
from dishka.exceptions import ExitError
from dishka.integrations.base import default_parse_dependency

from afterword.errors import InjectionError, NoContainer
from afterword.injection.needs import Function
from afterword.injection.scope import AsyncScope, Provided, SyncScope, Values, told, winner
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
        """What dishka's `inject` has wrapped."""
        if isinstance(func, types.FunctionType) and func.__code__.co_name.startswith(
            "dishka_func_"
        ):
            inner: Function = vars(func).get("__dishka_orig_func__", func)
            return inner
        return func

    def bind(self, func: Function, /) -> "BoundDishka | None":
        """Find out what a function needs; see `afterword.injection.needs.Injector`."""
        keys = dict(_keys(func))
        if not keys:
            return None
        container = self.container
        if container is None and self._app is not None:
            raise NoContainer(
                f"{name_of(func)} asks dishka for {', '.join(keys)}, but this application has no"
                " container. Call `setup_dishka(container, app)`, or give it to Afterword:"
                " `Afterword(app, injectors=[DishkaInjector(container)])`."
            )
        for name, key in keys.items():
            if container is not None and not _is_known(container, key):
                raise InjectionError(
                    f"{name_of(func)} cannot run in a worker: no provider of its dishka container"
                    f" makes {key.type_hint!r}, which its parameter {name!r} asks for."
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
    """Whether some scope of the container has a factory; also if dishka hides them one day."""
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
    """What dishka does for one function."""

    def __init__(self, injector: DishkaInjector, func: Function, keys: Keys) -> None:
        self.names = frozenset(keys)
        self._injector, self._func, self._keys = injector, func, keys
        self._asked: tuple[type, ...] | None = None

    @property
    def all_sync(self) -> bool:
        """Whether its container is a synchronous one."""
        return isinstance(self._injector.container, Container)

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        return _Scope(self._container, self._keys, self.context(provided))

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        container = self._container
        if not isinstance(container, Container):
            raise InjectionError("An asynchronous dishka container cannot be used in a thread.")
        return _SyncScope(container, self._keys, self.context(provided))

    def context(self, provided: Provided) -> dict[Any, Any]:
        """What the container can be asked for: the rest need not be made."""
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
                f"{name_of(self._func)} asks dishka for {', '.join(self._keys)}, but this process"
                " has no application whose container could give it."
            )
        return container


class _SyncScope(SyncScope):
    def __init__(self, container: Container, keys: Keys, context: dict[Any, Any]) -> None:
        super().__init__()
        self._container, self._keys, self._context = container, keys, context

    def _enter(self) -> Values:
        manager = self._container(context=self._context)
        scoped = manager.__enter__()
        self.stack.push(functools.partial(_closed, manager))
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
        self.stack.push(functools.partial(_closed_async, manager))
        return {
            name: await scoped.get(key.type_hint, component=key.component)
            for name, key in self._keys.items()
        }


def _closed(manager: Container, error: BaseException | None) -> BaseException | None:
    try:
        manager.__exit__(*told(error))
    except ExitError as group:
        return winner(error, _only(group))
    return error


async def _closed_async(
    manager: AsyncContainer, error: BaseException | None
) -> BaseException | None:
    try:
        await manager.__aexit__(*told(error))
    except ExitError as group:
        return winner(error, _only(group))
    return error


def _only(group: ExitError) -> BaseException:
    """The exception of the factory, if it is one alone."""
    return group.exceptions[0] if len(group.exceptions) == 1 else group
