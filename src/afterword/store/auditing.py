"""Rows of the audit, written in the transaction of the action."""

from collections.abc import Mapping, Sequence
from typing import Any

from afterword.model.audit import Actor, AuditRecord
from afterword.model.clock import as_datetime
from afterword.model.job import new_id
from afterword.model.outcome import storable_text, truncate
from afterword.store.parts import Row

_NAMED = 10  # ids or names that are kept of an action
_LIMIT = 1_000  # characters of a text


def audit_row(action: str, targets: Sequence[str], count: int, by: Actor) -> dict[str, Any]:
    """Return the values of note_action.sql, but for the time.

    >>> audit_row("pause", ["mail"], 1, Actor(name="ann", place="dashboard"))["target"]
    'mail'
    """
    return {
        "id": by.act or new_id(),
        "name": _kept(by.name),
        "place": by.place,
        "action": action,
        "target": _kept(by.selection or _listed(targets)),
        "count": count,
    }


def limits_in_words(queues: Mapping[str, int | None]) -> list[str]:
    """Return the new limits of queues in words.

    >>> limits_in_words({"mail": 2, "default": None})
    ['mail: 2', 'default: no limit']
    """
    return [f"{name}: {number or 'no limit'}" for name, number in queues.items()]


def _listed(targets: Sequence[str]) -> str:
    more = len(targets) - _NAMED
    return ", ".join(targets[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _kept(text: str) -> str:
    return truncate(storable_text(text), _LIMIT)


def audit_record(row: Row) -> AuditRecord:
    """Make the record of a row of audit.sql."""
    number, at, name, place, action, target, count = row
    return AuditRecord(
        id=number,
        at=as_datetime(at),
        name=name,
        place=place,
        action=action,
        target=target,
        count=count,
    )
