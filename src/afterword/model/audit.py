"""The audit: what people did to jobs, queues and schedules."""

from dataclasses import dataclass
from datetime import datetime

KEPT_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person or a program that acts, for the audit.

    Args:
        name: of the user, as far as it is known.
        place: "dashboard", "command line" or "API".
        selection: the search by which the jobs were chosen; "": they were named one by one.
    """

    name: str
    place: str
    selection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One action.

    Args:
        action: the verb: "cancel", "retry", "delete", "pause", "resume", "limit",
            "pause schedule" or "resume schedule".
        target: the search, or the first ids or names.
        count: how many jobs, queues or schedules it changed.
    """

    id: str
    at: datetime
    name: str
    place: str
    action: str
    target: str
    count: int
