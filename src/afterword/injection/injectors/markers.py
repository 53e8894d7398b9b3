"""FastAPI's public markers of parameters: `Depends`, `Query`, `Body` and so on."""

import inspect
from collections.abc import Collection, Iterator
from typing import TypeAlias

from fastapi import params
from pydantic.fields import FieldInfo

from afterword.injection.needs import Function, builtin_type_of
from afterword.tasks.signature import Hint, hints

Marker: TypeAlias = params.Depends | FieldInfo

_MARKERS = (params.Depends, params.Param, params.Body)


def marker_of(parameter: inspect.Parameter, hint: Hint) -> Marker | None:
    """Return the effective marker: the default value, or the last one in the metadata."""
    if isinstance(parameter.default, params.Depends | FieldInfo):
        return parameter.default
    markers = [each for each in hint.metadata if isinstance(each, _MARKERS)]
    return markers[-1] if markers else None


def marked(
    func: Function, builtin_types: Collection[type]
) -> Iterator[tuple[inspect.Parameter, Hint, params.Depends]]:
    """Yield the parameters with a `Depends`, except Wireup's and those of a built-in type."""
    for parameter, hint in hints(func):
        marker = marker_of(parameter, hint)
        if not isinstance(marker, params.Depends) or is_of_wireup(marker):
            continue
        if builtin_type_of(hint.bare, builtin_types) is None:
            yield parameter, hint, marker


def is_of_wireup(marker: Marker | None) -> bool:
    """Return True for `Injected[T]`, which is a `Depends` wherever FastAPI is installed."""
    dependency = getattr(marker, "dependency", None) if isinstance(marker, params.Depends) else None
    return inspect.isfunction(dependency) and "__is_wireup_depends__" in vars(dependency)


def dependencies(func: Function) -> Iterator[Function]:
    """Yield each function that is called for a function's `Depends`, directly or indirectly."""
    met: set[Function] = set()
    waiting = [func]
    while waiting:
        for _, hint, marker in marked(waiting.pop(), frozenset()):
            call = marker.dependency or hint.bare
            if call not in met:
                met.add(call)
                waiting.append(call)
                yield call
