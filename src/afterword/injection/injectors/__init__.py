"""The injectors: one module per framework, imported only when the application uses it."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from afterword.injection.needs import Injection, Injector, natives_known

__all__ = ["injection_of"]


def injection_of(
    app: Any = None,
    injectors: Sequence[Injector] = (),
    *,
    natives: Collection[type] | None = None,
    lifespan_state: Callable[[], Mapping[str, Any]] = dict,
) -> Injection:
    """The injection of one application.

    Args:
        app: whose `state` holds the containers that the frameworks' own `setup` has put there;
            None for a script that only adds jobs.
        injectors: what the application gave itself; a framework is then not looked for by itself.
        natives: the types that the worker provides by annotation alone. Default: those that say so.
        lifespan_state: what the application's lifespan yielded, for `request.state`.
    """
    known = natives_known() if natives is None else natives
    return Injection(_Found(app, injectors, known, lifespan_state), known)


class _Found:
    """The injectors given, and one for each other framework that has been imported by now."""

    def __init__(
        self,
        app: Any,
        given: Sequence[Injector],
        natives: Collection[type],
        lifespan_state: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._app, self._natives, self._lifespan_state = app, natives, lifespan_state
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
            self._app, natives=self._natives, lifespan_state=self._lifespan_state
        )

    def _dishka(self) -> Injector:
        from afterword.injection.injectors.dishka import DishkaInjector

        return DishkaInjector(app=self._app)


# By the name of the framework's package, which is the name of its injector, too.
_FRAMEWORKS: Mapping[str, Callable[[_Found], Injector]] = {
    "wireup": _Found._wireup,
    "fastapi": _Found._fastapi,
    "dishka": _Found._dishka,
}
