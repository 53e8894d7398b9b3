"""The limits of a call's arguments, and the comparison of decoded with original values.

The limits are the same for every store. They are checked before anything is encoded, so that a
gigabyte, or a list that contains itself, is refused early.
"""

import functools
import inspect
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from afterword.errors import ArgumentValueError, NotStorable, PayloadTooLarge, kind_of, safe_repr

PAYLOAD_LIMIT = 256 * 1024  # bytes of JSON per job
DEPTH_LIMIT = 64  # nested containers
# The part of pydantic's message before it quotes the value.
_RULE = re.compile(
    r"^Unable to serialize unknown type: .*|Expected `[^`]*`|invalid utf-8 sequence of .*"
)
_BITS_OF_4300_DIGITS = 14_284  # the most that Python converts back from text


def measure(
    value: object, path: str, *, models: bool = False, depth: int = 1, size: int = 0
) -> int:
    """Refuse a value that is too deep or too large, before it is encoded; return its size.

    Args:
        models: measure the contents of models and dataclasses, too. A value without an annotation
            may be a service of any size, whose call will run in its request.
    """
    if isinstance(value, str | bytes | bytearray):
        return _measure_text(value, path, size)
    if isinstance(value, int | float):
        _require_readable(value, path)
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        _require_shallow(path, depth)
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            size = _measure_key(key, path, size)
            inner = f"{path}.{key if type(key) is str else safe_repr(key)}"
            size = measure(item, inner, models=models, depth=depth + 1, size=size)
    elif isinstance(value, Iterator):
        raise _read_once(value, path)
    elif models and (isinstance(value, BaseModel) or is_dataclass(value)):
        inside = getattr(value, "__dict__", {})
        size = measure(inside, path, models=True, depth=depth, size=size)
    return size


def _read_once(value: object, path: str) -> NotStorable:
    rest = (
        f"{kind_of(value)}, which can be read only once: storing it would leave nothing for the"
        " task. Pass a list."
    )
    root, _, nested = path.partition(".")
    return NotStorable(
        f"The argument {path!r} is {rest}",
        logged=f"The argument {root!r} {'holds something' if nested else 'is'} {rest}",
    )


def _measure_text(value: str | bytes | bytearray, path: str, size: int) -> int:
    size += len(value)
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"more, at {path!r}"))
    try:
        if isinstance(value, str):
            value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise ArgumentValueError(
            f"The argument {path!r} holds half a surrogate pair, which UTF-8 cannot encode."
            " Pass valid text, or bytes."
        ) from None
    return size


def _measure_key(key: object, path: str, size: int) -> int:
    if isinstance(key, str | bytes):
        return _measure_text(key, f"a key of {path}", size)
    size += 2
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"more, at {path!r}"))
    return size


def _require_readable(value: object, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentValueError(
            f"JSON has no {value!r}, but the argument {path!r} is one. Pass None or text."
        )
    if isinstance(value, int) and value.bit_length() > _BITS_OF_4300_DIGITS:
        raise ArgumentValueError(
            f"The argument {path!r} is an integer of more than 4,300 digits, which Python does"
            " not read back from text. Pass it as bytes or text."
        )


def _require_shallow(path: str, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise ArgumentValueError(
            f"Arguments may be nested {DEPTH_LIMIT} levels deep, but {path[:40]!r} goes deeper"
            " (or contains itself). Pass a flatter value, or store it and pass its id."
        )


def same(one: Any, other: Any) -> bool:
    """Return True if a decoded value equals the original in type and content."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple | deque):
        alike = len(one) == len(other) and _limit(one) == _limit(other)
        return alike and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return one == other and {type(item) for item in one} == {type(item) for item in other}
    if isinstance(one, BaseModel):
        return same(_data(one), _data(other))
    if is_dataclass(one):
        names = [each.name for each in fields(one) if each.compare]
        return all(same(getattr(one, name, None), getattr(other, name, None)) for name in names)
    if _compares_by_identity(one):
        return same(one.__dict__, other.__dict__)
    return _equal(one, other)


def _limit(items: Any) -> int | None:
    return items.maxlen if isinstance(items, deque) else None


def _data(model: BaseModel) -> dict[str, Any]:
    """Return the fields and the extra fields of a model, without cached properties."""
    data = {**model.__dict__, **(model.__pydantic_extra__ or {})}
    for name in _cached_properties(type(model)):
        data.pop(name, None)
    return data


def _reading(time: datetime) -> tuple[datetime, timedelta | None]:
    """Return the local time, and its offset from UTC.

    In an hour that the change of clocks skips or repeats, `==` is False between any two zones.
    """
    return time.replace(tzinfo=None), time.utcoffset()


@functools.lru_cache(maxsize=4096)
def _cached_properties(kind: type) -> tuple[str, ...]:
    return tuple(
        name
        for name in dir(kind)
        if isinstance(inspect.getattr_static(kind, name, None), functools.cached_property)
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, datetime):
        return _reading(one) == _reading(other)
    try:
        return bool(one == other)
    except Exception:  # a user's __eq__ may raise
        return False


def _compares_by_identity(value: Any) -> bool:
    comparison: object = type(value).__eq__
    return comparison is object.__eq__ and hasattr(value, "__dict__")


def why_not_json(error: BaseException) -> str:
    """Explain why pydantic could not encode a value, without quoting the value."""
    text = str(error) if isinstance(error, PydanticSerializationError) else ""
    known = _RULE.search(text)
    return known[0] if known else type(error).__qualname__


def too_large(met: str) -> str:
    """Write the message of PayloadTooLarge."""
    return (
        f"The arguments of one job may take {PAYLOAD_LIMIT:,} bytes, but these take {met}."
        " Store the data and pass its id or path."
    )
