"""Records as JSON documents for programs, with ISO times and decoded arguments."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from afterword.model.job import JobRecord
from afterword.tasks.arguments import UNSET

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KEPT_AS_JSON = ("arguments", "result", "progress", "options")
_MARK = f',"{UNSET}":'


def document(record: "DataclassInstance") -> dict[str, Any]:
    """Convert any record, field by field."""
    return {each.name: _value(getattr(record, each.name)) for each in fields(record)}


def job_document(job: JobRecord) -> dict[str, Any]:
    """Convert a job; its JSON fields are decoded, or stay text if they cannot be."""
    kept = {name: readable(getattr(job, name)) for name in _KEPT_AS_JSON}
    return {**document(job), **kept, "arguments": readable(given_arguments(job.arguments))}


def given_arguments(text: str) -> str:
    """Return the stored arguments of a job without the note on fields that models did not set.

    Numbers stay as they are written.

    >>> given_arguments('{"item":{"id":1.10,"size":2},"#unset":[[["size"],[["item"]]]]}')
    '{"item":{"id":1.10,"size":2}}'
    """
    arguments, found, _ = text.rpartition(_MARK)
    if not found:
        return text
    shorter = arguments + "}"
    whole, rest = readable(text), readable(shorter)
    if not isinstance(whole, dict) or not isinstance(rest, dict):
        return text  # it is a part of an argument
    return shorter if whole.pop(UNSET, None) is not None and whole == rest else text


def readable(text: str | None) -> Any:
    """Decode stored JSON; return the text itself if the value could not be encoded again.

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
