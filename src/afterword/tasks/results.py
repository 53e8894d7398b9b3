"""What a task returned, as JSON and back, typed by its return annotation.

A result is a convenience: whatever is wrong with it, the task has done its work, so its job is
completed, and the reason why nothing was kept is said once.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from afterword.errors import AfterwordError, PayloadTooLarge, kind_of
from afterword.model.outcome import reason_of
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, why_not_json

RESULT_LIMIT = PAYLOAD_LIMIT  # bytes of JSON


class ResultNotKept(AfterwordError, ValueError):
    """What a task returned cannot be stored; its job is completed all the same."""


def encode_result(func: Callable[..., Any], value: object) -> str | None:
    """What a task returned, as JSON; None is not stored.

    Raises:
        ResultNotKept: JSON has no form for it, or it is larger than 256 KiB.
    """
    if value is None:
        return None
    try:
        measure(value, "result", models=True)  # pydantic would write NaN as null, and say nothing
        text = _adapter(func).dump_json(value, warnings="error")
    except PayloadTooLarge as error:
        raise _too_large("more") from error
    except BaseException as error:  # a stranger's object may raise anything
        why = f"JSON has no form for it, which is {kind_of(value)} ({_said(error)})"
        raise ResultNotKept(why) from error
    if len(text) > RESULT_LIMIT:
        raise _too_large(f"{len(text):,} bytes")
    return text.decode()


def _too_large(met: str) -> ResultNotKept:
    return ResultNotKept(
        f"at most {RESULT_LIMIT:,} bytes are kept, and it takes {met}: store it, and return where"
        " it is"
    )


def _said(error: BaseException) -> str:
    """Why, in one line; only our own errors do not quote what was returned."""
    if not isinstance(error, AfterwordError):
        return why_not_json(error)
    text = reason_of(error).replace("The argument ", "").replace("the argument ", "")
    return " ".join(text.split())[:300]


def decode_result(func: Callable[..., Any] | None, text: str | None) -> Any:
    """A stored result: of its annotated type if the function is known, else plain JSON."""
    if text is None:
        return None
    if func is None:
        return json.loads(text)
    return _adapter(func).validate_json(text)


@functools.lru_cache(maxsize=4096)
def _adapter(func: Callable[..., Any]) -> TypeAdapter[Any]:
    """For the annotated type; without one, or with one that is no data: whatever JSON can hold."""
    try:
        annotation = get_type_hints(func, include_extras=True).get("return", Any)
        return TypeAdapter(Any if annotation is type(None) else annotation)
    except Exception:
        return TypeAdapter(Any)
