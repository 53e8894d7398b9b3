"""What FastAPI is told of a parameter, read from its public markers."""

import inspect
from collections.abc import Collection, Iterator
from typing import TypeAlias

from fastapi import params
from pydantic.fields import FieldInfo

from afterword.injection.needs import Function, native_of
from afterword.tasks.signature import Hint, hints

Marker: TypeAlias = params.Depends | FieldInfo

_SAID = (params.Depends, params.Param, params.Body)


def marker_of(parameter: inspect.Parameter, hint: Hint) -> Marker | None:
    """The marker that counts: the default, or the last one beside the type."""
    if isinstance(parameter.default, params.Depends | FieldInfo):
        return parameter.default
    said = [each for each in hint.metadata if isinstance(each, _SAID)]
    return said[-1] if said else None


def marked(
    func: Function, natives: Collection[type]
) -> Iterator[tuple[inspect.Parameter, Hint, params.Depends]]:
    """The parameters with a `Depends`; not Wireup's, nor those whose type is native."""
    for parameter, hint in hints(func):
        marker = marker_of(parameter, hint)
        if not isinstance(marker, params.Depends) or is_of_wireup(marker):
            continue
        if native_of(hint.bare, natives) is None:
            yield parameter, hint, marker


def is_of_wireup(marker: Marker | None) -> bool:
    """Whether it is `Injected[T]`, which is a `Depends` wherever FastAPI is installed."""
    dependency = getattr(marker, "dependency", None) if isinstance(marker, params.Depends) else None
    return inspect.isfunction(dependency) and "__is_wireup_depends__" in vars(dependency)


def dependencies(func: Function) -> Iterator[Function]:
    """All that is called for a function's `Depends`, itself or through others, each once."""
    met: set[Function] = set()
    waiting = [func]
    while waiting:
        for _, hint, marker in marked(waiting.pop(), frozenset()):
            call = marker.dependency or hint.bare
            if call not in met:
                met.add(call)
                waiting.append(call)
                yield call
