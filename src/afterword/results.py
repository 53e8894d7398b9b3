"""What a task returned, as JSON and back, typed by its return annotation.

A result is a convenience: whatever is wrong with it, the task has done its work, so its job is
completed, and the reason why nothing was kept is said once.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from afterword.errors import AfterwordError

RESULT_LIMIT = 256 * 1024  # bytes of JSON


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
        text = _adapter(func).dump_json(value, warnings="error")
    except Exception as error:  # a stranger's object may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__qualname__
        raise ResultNotKept(f"JSON has no form for it ({reason})") from error
    if len(text) > RESULT_LIMIT:
        raise ResultNotKept(
            f"it takes {len(text):,} bytes, and at most {RESULT_LIMIT:,} are kept: store it, and"
            " return where it is"
        )
    return text.decode()


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
