"""Wireup's `Injected[T]` and `Annotated[T, Inject(...)]` in tasks, and Wireup's own wrappers.

    background_tasks.add_task(wireup_task(send), user_id)   # `WireupTask`, as Wireup documents it
    background_tasks.add_task(send, user_id)                # the same job

Singletons are shared with the application. Scoped and transient objects are made in a scope of the
attempt, whose exception reaches the factories. Functions decorated with Wireup's `inject` (the
task, a dependency, or a function that the task calls) find that scope where they find a request's.
"""

import contextlib
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from wireup.errors import WireupError
from wireup.ioc.types import AnnotatedParameter, InjectableType
from wireup.ioc.util import get_inject_annotated_parameters

from afterword.errors import InjectionError, NoContainer
from afterword.injection.injectors.wireup_scope import (
    Compiled,
    Container,
    WireupScope,
    WireupSyncScope,
    catching,
)
from afterword.injection.needs import Function
from afterword.injection.scope import Provided, Values
from afterword.tasks.signature import hints, name_of


class WireupInjector:
    """Fills the parameters that have one of Wireup's markers.

    Args:
        container: the root container. Default: the one that `wireup.integration.fastapi.setup` or
            `wireup.integration.starlette.setup` has put into `app.state`.
        app: the application.

    Example:
        afterword = Afterword(app, injectors=[WireupInjector(container)])
    """

    name = "wireup"

    def __init__(self, container: Container | None = None, *, app: Any = None) -> None:
        self._given, self._app = container, app

    @property
    def container(self) -> Container | None:
        """The root container, if there is one by now."""
        state = getattr(self._app, "state", None)
        return self._given or getattr(state, "wireup_container", None)

    def unwrap(self, func: Function, /) -> Function:
        """Return the function inside a wrapper of Wireup's; any other unchanged.

        `WireupTask`, `inject` and `inject_from_container` make such wrappers.
        """
        return func.__wrapped__ if is_wrapper(func) else func  # type: ignore[attr-defined]

    def bind(self, func: Function, /) -> "BoundWireup | None":
        """Find the parameters to inject; see `afterword.injection.needs.Injector`."""
        needs = _needs(func)
        reached = [call for call in _dependencies(func) if is_wrapper(call)]
        if not needs and not reached:
            return None
        container = self.container
        if container is None and self._app is not None:
            raise NoContainer(
                f"{name_of(func)} needs a Wireup container for {', '.join(needs)}, but this"
                " application has none. Call `wireup.integration.fastapi.setup(container, app)` (or"
                " that of `wireup.integration.starlette`), or pass it to Afterword:"
                " `Afterword(app, injectors=[WireupInjector(container)])`."
            )
        asked = _asked_for(func, needs, reached)
        return BoundWireup(self, func, frozenset(needs), asked, encloses=bool(reached))


def is_wrapper(func: Function) -> bool:
    """Return True if Wireup made this very function.

    Its globals decide, because a user's decorator around it carries a copy of its attributes.
    """
    return isinstance(func, types.FunctionType) and "_wireup_target" in func.__globals__


def _needs(func: Function) -> list[str]:
    """Return the names of the parameters that have one of Wireup's markers."""
    if isinstance(func, types.FunctionType) and "__wireup_names__" in vars(func):
        return list(vars(func)["__wireup_names__"])  # of a route: hidden from FastAPI
    return [
        parameter.name for parameter, hint in hints(func) if any(map(_is_marker, hint.metadata))
    ]


def _is_marker(metadata: object) -> bool:
    if isinstance(metadata, InjectableType) or not sys.modules.get("fastapi"):
        return isinstance(metadata, InjectableType)
    from fastapi import params

    from afterword.injection.injectors.markers import is_of_wireup

    return isinstance(metadata, params.Depends) and is_of_wireup(metadata)


def _dependencies(func: Function) -> Iterable[Function]:
    """Yield the functions that FastAPI would call for its parameters."""
    if not sys.modules.get("fastapi"):
        return ()
    from afterword.injection.injectors.markers import dependencies

    return dependencies(func)


def _asked_for(
    func: Function, needs: Sequence[str], reached: Sequence[Function]
) -> list[AnnotatedParameter]:
    """Return the parameters that Wireup fills, of the function and of its wrapped dependencies."""
    with _refused(func):
        own = [catching(func)] if needs else []
        asked = [get_inject_annotated_parameters(call) for call in own]
        asked += [get_inject_annotated_parameters(call) for call in reached]
    return [parameter for each in asked for parameter in each.values()]


@contextlib.contextmanager
def _refused(func: Function) -> Iterator[None]:
    """Turn a refusal of Wireup's into an InjectionError, because such a task can never run."""
    try:
        yield
    except WireupError as error:
        raise InjectionError(f"{name_of(func)} cannot run in a worker: {error}") from error


class BoundWireup:
    """The Wireup parameters of one function."""

    def __init__(
        self,
        injector: WireupInjector,
        func: Function,
        names: frozenset[str],
        asked: Sequence[AnnotatedParameter],
        *,
        encloses: bool,
    ) -> None:
        self.names = names
        self.encloses = encloses  # wrapped dependencies of FastAPI look for this scope
        self._injector, self._func, self._asked = injector, func, asked
        self._compiled: Compiled | None = None
        if injector.container is not None:
            self._compile(injector.container)

    @property
    def all_sync(self) -> bool:
        """Return True if none of the factories that are needed is `async`."""
        return self._now.all_sync

    @property
    def _now(self) -> "Compiled":
        """The compiled functions for the application's present container."""
        container = self._injector.container
        if container is None:
            raise InjectionError(
                f"{name_of(self._func)} needs a Wireup container for {', '.join(self.names)}, but"
                " this process has no application with one."
            )
        if self._compiled is None or self._compiled.container is not container:
            return self._compile(container)
        return self._compiled

    def _compile(self, container: Container) -> "Compiled":
        with _refused(self._func):
            self._compiled = Compiled(container, self._func, self._asked, filled=bool(self.names))
        return self._compiled

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        return WireupScope(self._now, provided)

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        return WireupSyncScope(self._now, provided)
