"""Records as JSON documents for programs: ISO times, and arguments as the values they are."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from afterword.job import JobRecord

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def document(record: "DataclassInstance") -> dict[str, Any]:
    """Any record, field by field."""
    return {each.name: _value(getattr(record, each.name)) for each in fields(record)}


def job_document(job: JobRecord) -> dict[str, Any]:
    """A job; its arguments are text only if they cannot be read."""
    return {**document(job), "arguments": readable_arguments(job.arguments)}


def readable_arguments(text: str) -> Any:
    """The value of stored arguments; the text itself if no JSON could be made of it again.

    >>> readable_arguments('{"to": "ada"}'), readable_arguments("{")
    ({'to': 'ada'}, '{')
    """
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
