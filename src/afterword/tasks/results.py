"""Results of tasks, encoded as JSON and decoded by the return annotation, as arguments are.

A result is a convenience. If it cannot be stored, or would come back as another value, the task has
still done its work: its job is completed, and the reason is logged once.
"""

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_args, get_origin

from pydantic import JsonValue, RootModel, TypeAdapter
from pydantic_core import ValidationError

from afterword.errors import AfterwordError, PayloadTooLarge, kind_of
from afterword.model.outcome import reason_of
from afterword.tasks.encoding import (
    CONFIG,
    change_of,
    first_of,
    leaves_out,
    read,
    rule_of,
    texts,
    usable,
    why_unreadable,
)
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, why_not_json
from afterword.tasks.signature import signature

RESULT_LIMIT = PAYLOAD_LIMIT  # bytes of JSON
_WITHOUT_TYPE = (inspect.Signature.empty, None, type(None))


class ResultNotKept(AfterwordError, ValueError):
    """A result cannot be stored; its job is completed nevertheless."""


def encode_result(func: Callable[..., Any], value: object) -> str | None:
    """Encode a task's return value as JSON; None is not stored.

    Raises:
        ResultNotKept: JSON has no form for it or would change it, or it is larger than 256 KiB.
    """
    if value is None:
        return None
    try:
        return _encode(_kind(func), value)
    except ResultNotKept:
        raise
    except PayloadTooLarge as error:
        raise _too_large("more") from error
    except ValidationError as error:
        rule = rule_of(first_of(error))
        why = f"it is {kind_of(value)}, which its annotation does not allow ({rule})"
        raise ResultNotKept(why) from error
    except BaseException as error:  # a user's object may raise anything
        why = f"JSON has no form for it, which is {kind_of(value)} ({_reason(error)})"
        raise ResultNotKept(why) from error


def _encode(kind: type[RootModel[Any]], value: object) -> str:
    measure(value, "result", models=True)  # pydantic would silently write NaN as null
    model = kind.__pydantic_validator__.validate_python(value, strict=True)
    # An annotation may convert (an int into a float); without one the value must not change.
    expected = value if kind is _kind_of_any() else model.root
    if leaves_out(value, expected):
        raise ResultNotKept(
            f"it is {kind_of(value)}, and has keys that its annotation does not have: add them to"
            " the TypedDict, or return without them"
        )
    reason: str | None = None
    for text in texts(model):
        if len(text) > RESULT_LIMIT:
            raise _too_large(f"{len(text):,} bytes")
        change = _change(kind, expected, text)
        if change is None:
            return text.decode()
        reason = reason or change
    raise ResultNotKept(
        f"it is {kind_of(value)}, and {reason}. Annotate the function with the exact type that it"
        " returns"
    )


def _change(kind: type[RootModel[Any]], value: object, text: bytes) -> str | None:
    """Explain how a value would change; None if it comes back as it is, with all fields set."""
    try:
        back = read(kind, text).root
    except ValidationError as error:
        return why_unreadable(error)
    return change_of(value, back)


def _too_large(met: str) -> ResultNotKept:
    return ResultNotKept(
        f"at most {RESULT_LIMIT:,} bytes are kept, but it takes {met}: store it, and return its id"
        " or path"
    )


def _reason(error: BaseException) -> str:
    """Explain an error in one line; others' messages may quote the result, so they are not used."""
    if not isinstance(error, AfterwordError):
        return why_not_json(error)
    text = reason_of(error).replace("The argument ", "").replace("the argument ", "")
    return " ".join(text.split())[:300]


def decode_result(func: Callable[..., Any] | None, text: str | None) -> Any:
    """Decode a stored result to its annotated type; to plain JSON if the function is unknown.

    Raises:
        ValueError: it does not fit the annotation (any more).
    """
    if text is None:
        return None
    if func is None:
        return json.loads(text)
    return read(_kind(func), text).root


def shown_result(func: Callable[..., Any] | None, text: str) -> str:
    """Return a stored result as FastAPI would show it: by aliases, with computed fields.

    If the function is unknown, or the result no longer fits its annotation, the result is shown as
    it is stored.
    """
    if func is None or _kind(func) is _kind_of_any():
        return text
    try:
        return _shown(func).dump_json(decode_result(func, text), by_alias=True).decode()
    except Exception:  # the code of a user's type may raise anything
        return text


@functools.lru_cache(maxsize=4096)
def _shown(func: Callable[..., Any]) -> TypeAdapter[Any]:
    return TypeAdapter(_annotation(func))


@functools.lru_cache(maxsize=4096)
def _kind(func: Callable[..., Any]) -> type[RootModel[Any]]:
    """Return the model of the results; without a usable annotation, that of any JSON value."""
    try:
        annotation = usable(_annotation(func))
        return _kind_of_any() if annotation is JsonValue else _kind_of(annotation)
    except Exception:
        return _kind_of_any()


@functools.cache
def _kind_of_any() -> type[RootModel[Any]]:
    return _kind_of(usable(Any))


def _kind_of(annotation: Any) -> type[RootModel[Any]]:
    class Result(RootModel):  # type: ignore[type-arg]
        # `RootModel[annotation]` would be one model for `A | B` and `B | A`, which are equal.
        model_config = CONFIG
        root: annotation

    return Result


def _annotation(func: Callable[..., Any]) -> Any:
    annotation = signature(func).return_annotation
    if get_origin(annotation) in (Awaitable, Coroutine):
        annotation = get_args(annotation)[-1]
    return Any if annotation in _WITHOUT_TYPE else annotation
