"""What the stored text of a call may be, and whether it tells the truth.

The limits are the same for every store. They are checked before anything is encoded, so that a
gigabyte or a list that contains itself costs nothing.
"""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from afterword.errors import ArgumentValueError, PayloadTooLarge

PAYLOAD_LIMIT = 256 * 1024  # bytes of JSON per job
DEPTH_LIMIT = 64  # nested containers
_BITS_OF_4300_DIGITS = 14_284  # what Python itself agrees to read back from text


def measure(value: object, path: str, depth: int = 1, size: int = 0) -> int:
    """Refuse what would be too deep or too large before any of it is encoded; returns its size."""
    if isinstance(value, str | bytes | bytearray):
        size += len(value)
        if size > PAYLOAD_LIMIT:
            raise PayloadTooLarge(too_large(f"more, at {path!r}"))
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ArgumentValueError(
                f"JSON has no {value!r}, but the argument {path!r} is one. Pass None or text."
            )
    elif isinstance(value, int):
        if value.bit_length() > _BITS_OF_4300_DIGITS:
            raise ArgumentValueError(
                f"The argument {path!r} is an integer of more than 4,300 digits, which Python does"
                " not read back from text. Pass it as bytes or text."
            )
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth > DEPTH_LIMIT:
            raise ArgumentValueError(
                f"Arguments may be nested {DEPTH_LIMIT} levels deep, but {path[:40]!r} goes deeper"
                " (or contains itself). Pass a flatter value, or store it and pass its id."
            )
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            size = measure(item, f"{path}.{key}", depth + 1, _measure_key(key, path, size))
    return size


def _measure_key(key: object, path: str, size: int) -> int:
    size += len(key) if isinstance(key, str | bytes) else 2
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"more, at {path!r}"))
    return size


def same(one: Any, other: Any) -> bool:
    """Whether a decoded value is what was encoded, in type and content."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return one == other and {type(item) for item in one} == {type(item) for item in other}
    if isinstance(one, BaseModel) or _compares_by_identity(one):
        return same(one.__dict__, other.__dict__)
    return bool(one == other)


def _compares_by_identity(value: Any) -> bool:
    comparison: object = type(value).__eq__
    return comparison is object.__eq__ and hasattr(value, "__dict__")


def too_large(met: str) -> str:
    """The message of PayloadTooLarge."""
    return (
        f"The arguments of one job may take {PAYLOAD_LIMIT:,} bytes, but these take {met}."
        " Store the data and pass its id or path."
    )
