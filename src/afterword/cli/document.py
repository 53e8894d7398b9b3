"""Records as JSON documents for programs: ISO times, and arguments as the values they are."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from afterword.model.job import JobRecord

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KEPT_AS_JSON = ("arguments", "result", "progress", "options")


def document(record: "DataclassInstance") -> dict[str, Any]:
    """Any record, field by field."""
    return {each.name: _value(getattr(record, each.name)) for each in fields(record)}


def job_document(job: JobRecord) -> dict[str, Any]:
    """A job; what it keeps as JSON is text only if it cannot be read."""
    kept = {name: readable(getattr(job, name)) for name in _KEPT_AS_JSON}
    return {**document(job), **kept}


def readable(text: str | None) -> Any:
    """The value of stored JSON; the text itself if no JSON could be made of it again.

    >>> readable('{"to": "ada"}'), readable("{"), readable(None)
    ({'to': 'ada'}, '{', None)
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value
