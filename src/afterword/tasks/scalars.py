"""The short way to encode plain arguments: text, numbers, True, False and None.

Most calls pass an id and a word. If a parameter has no annotation, or exactly the type of its
value, JSON is certain to preserve the value, so there is no need to validate it, or to read it back
and compare. All other calls, erroneous ones included, take the long way of
`afterword.tasks.arguments`. Both write the same JSON.
"""

import inspect
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic_core import from_json, to_json

from afterword.tasks.payload import PAYLOAD_LIMIT

SCALARS: frozenset[type] = frozenset({str, int, float, bool, types.NoneType})
_NONE_OF_THEM: frozenset[type] = frozenset()
_LARGEST = 2**63 - 1  # integers up to this are certain; larger ones take the long way
_SHORT = 1_000  # characters: a longer text rarely holds scalars only, and would be parsed twice
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Scalars:
    """The parameters of a function that takes the short way.

    Args:
        takes: the types that JSON certainly preserves, by parameter, in order.
        positional: the number of parameters that can be passed by position.
        required: the parameters without a default.
    """

    takes: Mapping[str, frozenset[type]]
    positional: int
    required: frozenset[str]

    @classmethod
    def of(
        cls, signature: inspect.Signature, takes: Mapping[str, frozenset[type]]
    ) -> "Scalars | None":
        """Build it from a signature; None if a parameter cannot be passed by name.

        >>> def send(user_id: int, *, text="") -> None: ...
        >>> takes = {"user_id": frozenset({int}), "text": SCALARS}
        >>> scalars = Scalars.of(inspect.signature(send), takes)
        >>> scalars.encode((1,), {"text": "hi"}), scalars.encode(("1",), {})
        ('{"user_id":1,"text":"hi"}', None)
        >>> scalars.decode('{"user_id":1}'), scalars.decode('{"user_id":"1"}')
        ({'user_id': 1}, None)
        """
        parameters = signature.parameters.values()
        if not all(each.kind in _BY_NAME for each in parameters):
            return None
        positional = sum(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
        required = frozenset(each.name for each in parameters if each.default is each.empty)
        return cls(takes, positional, required)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """Encode the arguments of a call as JSON; None if they need the long way."""
        values = dict(zip(self.takes, args, strict=False))
        if len(args) > self.positional or not kwargs.keys().isdisjoint(values):
            return None
        values.update(kwargs)
        if not self._are_certain(values):
            return None
        if kwargs:
            values = {name: values[name] for name in self.takes if name in values}
        try:
            text = to_json(values)
        except ValueError:  # half a surrogate pair
            return None
        return text.decode() if len(text) <= PAYLOAD_LIMIT else None

    def decode(self, text: str) -> dict[str, Any] | None:
        """Decode the arguments by name; None if they need the long way."""
        if len(text) > _SHORT:
            return None
        try:
            values = from_json(text, allow_inf_nan=False)
        except ValueError:
            return None
        return values if type(values) is dict and self._are_certain(values) else None

    def _are_certain(self, values: dict[str, Any]) -> bool:
        for name, value in values.items():
            if type(value) not in self.takes.get(name, _NONE_OF_THEM) or not _is_certain(value):
                return False
        return self.required <= values.keys()


def scalars_of(annotation: Any, default: object) -> frozenset[type]:
    """Return the types that a parameter with this annotation takes unchanged.

    >>> sorted(kind.__name__ for kind in scalars_of(int | None, 5))
    ['NoneType', 'int']
    >>> scalars_of(list[int], [])
    frozenset()
    """
    is_union = get_origin(annotation) in (Union, types.UnionType)
    asked = get_args(annotation) if is_union else (annotation,)
    kinds = frozenset(kind for kind in SCALARS if kind in asked)
    if len(kinds) < len(asked) or len(kinds - {types.NoneType}) > 1:
        return _NONE_OF_THEM
    return kinds | {types.NoneType} if default is None else kinds


def _is_certain(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return -_LARGEST <= value <= _LARGEST  # type: ignore[no-any-return]
    if kind is str:
        return len(value) <= PAYLOAD_LIMIT
    return kind is not float or math.isfinite(value)
