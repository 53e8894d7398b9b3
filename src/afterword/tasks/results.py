"""Results of tasks, encoded as JSON and decoded by the return annotation.

A result is a convenience. If it cannot be stored, the task has still done its work: its job is
completed, and the reason is logged once.
"""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from afterword.errors import AfterwordError, PayloadTooLarge, kind_of
from afterword.model.outcome import reason_of
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, why_not_json
from afterword.tasks.signature import signature

RESULT_LIMIT = PAYLOAD_LIMIT  # bytes of JSON
_WITHOUT_TYPE = (inspect.Signature.empty, None, type(None))


class ResultNotKept(AfterwordError, ValueError):
    """A result cannot be stored; its job is completed all the same."""


def encode_result(func: Callable[..., Any], value: object) -> str | None:
    """Encode a task's return value as JSON; None is not stored.

    Raises:
        ResultNotKept: JSON has no form for it, or it is larger than 256 KiB.
    """
    if value is None:
        return None
    try:
        measure(value, "result", models=True)  # pydantic would silently write NaN as null
        text = _adapter(func).dump_json(value, warnings="error")
    except PayloadTooLarge as error:
        raise _too_large("more") from error
    except BaseException as error:  # a user's object may raise anything
        why = f"JSON has no form for it, which is {kind_of(value)} ({_reason(error)})"
        raise ResultNotKept(why) from error
    if len(text) > RESULT_LIMIT:
        raise _too_large(f"{len(text):,} bytes")
    return text.decode()


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
    """Decode a stored result to its annotated type; to plain JSON if the function is unknown."""
    if text is None:
        return None
    if func is None:
        return json.loads(text)
    return _adapter(func).validate_json(text)


@functools.lru_cache(maxsize=4096)
def _adapter(func: Callable[..., Any]) -> TypeAdapter[Any]:
    """Return the adapter of the return annotation; without a usable one, that of any JSON value."""
    try:
        annotation = signature(func).return_annotation
        return TypeAdapter(Any if annotation in _WITHOUT_TYPE else annotation)
    except Exception:
        return TypeAdapter(Any)
