"""The annotations of a function, resolved from every form in which they are written.

Annotations are objects of other libraries. Metadata in `Annotated[...]` is only inspected by class,
because Wireup's markers raise on attributes that they do not have.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typing_extensions

from afterword.tasks.registry import is_lasting

_ALIASES = tuple(
    getattr(module, "TypeAliasType")  # noqa: B009 - not in every version of Python
    for module in (typing, typing_extensions)
    if hasattr(module, "TypeAliasType")
)


@dataclass(frozen=True, slots=True)
class Hint:
    """An annotation taken apart: the bare type, and the metadata beside it."""

    bare: Any
    metadata: tuple[Any, ...] = ()


def signature(func: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a callable, with its annotations resolved where possible.

    An annotation that only a type checker can resolve stays a string.

    Raises:
        TypeError, ValueError: it has no signature (like some built-ins).
    """
    return _known(func) if is_lasting(func) else _resolve(func)


def _resolve(func: Callable[..., Any]) -> inspect.Signature:
    namespace = getattr(inspect.unwrap(func), "__globals__", {})
    try:
        found = inspect.signature(func, eval_str=True)
    except Exception:  # one unresolvable annotation fails them all
        found = inspect.signature(func)
    return found.replace(
        parameters=[
            each.replace(annotation=resolved(each.annotation, namespace))
            for each in found.parameters.values()
        ],
        return_annotation=resolved(found.return_annotation, namespace),
    )


_known = functools.lru_cache(maxsize=4096)(_resolve)


def parameters(func: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of a callable; raises as `signature` does."""
    return tuple(signature(func).parameters.values())


def resolved(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Resolve an annotation with the strings inside it; return it unchanged if that fails."""
    if isinstance(annotation, type):
        return annotation
    probe = types.FunctionType((lambda: None).__code__, dict(namespace))
    probe.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(probe, include_extras=True)["it"]
    except Exception:
        return annotation


def hint(annotation: Any) -> Hint:
    """Take an annotation apart, through `type X = ...`, `Annotated` and `| None`.

    >>> hint(Annotated[int, "metres"] | None)
    Hint(bare=<class 'int'>, metadata=('metres',))
    """
    metadata: list[Any] = []
    while (inner := _inner(annotation, metadata)) is not annotation:
        annotation = inner
    return Hint(annotation, tuple(metadata))


def _inner(annotation: Any, metadata: list[Any]) -> Any:
    if isinstance(annotation, _ALIASES):
        return annotation.__value__
    origin = get_origin(annotation)
    if origin is Annotated:
        bare, *beside = get_args(annotation)
        metadata.extend(beside)
        return bare
    if origin is Union or origin is types.UnionType:
        members = [each for each in get_args(annotation) if each is not type(None)]
        return members[0] if len(members) == 1 else annotation
    return annotation


def hints(func: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, Hint]]:
    """Yield each parameter with its annotation taken apart; nothing without a signature."""
    try:
        found = parameters(func)
    except (TypeError, ValueError):
        return
    for parameter in found:
        yield parameter, hint(parameter.annotation)


def name_of(func: Callable[..., Any]) -> str:
    """Return the name of a callable, for messages."""
    while isinstance(func, functools.partial):
        func = func.func
    return getattr(func, "__qualname__", type(func).__qualname__)
