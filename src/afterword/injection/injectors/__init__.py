"""The injectors: one module per framework, imported only when the application uses it."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from afterword.injection.needs import Injection, Injector, known_builtin_types

__all__ = ["injection_of"]


def injection_of(
    app: Any = None,
    injectors: Sequence[Injector] = (),
    *,
    builtin_types: Collection[type] | None = None,
    lifespan_state: Callable[[], Mapping[str, Any]] = dict,
) -> Injection:
    """Make the injection of one application.

    Args:
        app: the application, whose `state` holds the containers of the frameworks' own `setup`;
            None for a script that only adds jobs.
        injectors: given by the application, each in place of the default one for its framework.
        builtin_types: the types that the worker provides by annotation alone. Default: those that
            are registered with `native`.
        lifespan_state: returns what the application's lifespan yielded, for `request.state`.
    """
    known = known_builtin_types() if builtin_types is None else builtin_types
    return Injection(_Found(app, injectors, known, lifespan_state), known)


class _Found:
    """The given injectors, and a default one for each other framework that has been imported."""

    def __init__(
        self,
        app: Any,
        given: Sequence[Injector],
        builtin_types: Collection[type],
        lifespan_state: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._app, self._builtin_types, self._lifespan_state = app, builtin_types, lifespan_state
        self._injectors = {injector.name: injector for injector in given}

    def __call__(self) -> Sequence[Injector]:
        for name, make in _FRAMEWORKS.items():
            if name not in self._injectors and sys.modules.get(name):
                self._injectors[name] = make(self)
        return tuple(self._injectors.values())

    def _wireup(self) -> Injector:
        from afterword.injection.injectors.wireup import WireupInjector

        return WireupInjector(app=self._app)

    def _fastapi(self) -> Injector:
        from afterword.injection.injectors.depends import DependsInjector

        return DependsInjector(
            self._app, builtin_types=self._builtin_types, lifespan_state=self._lifespan_state
        )

    def _dishka(self) -> Injector:
        from afterword.injection.injectors.dishka import DishkaInjector

        return DishkaInjector(app=self._app)


# By the name of the framework's package, which is also the name of its injector.
_FRAMEWORKS: Mapping[str, Callable[[_Found], Injector]] = {
    "wireup": _Found._wireup,
    "fastapi": _Found._fastapi,
    "dishka": _Found._dishka,
}
