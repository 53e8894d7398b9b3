"""The audit: what people did to jobs, queues and schedules."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from afterword.model.job import new_id

KEPT_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person or a program that acts, for the audit.

    Args:
        name: of the user, as far as it is known.
        place: "dashboard", "command line", "API" or "application".
        selection: the search by which the jobs were chosen; "": they were named one by one.
        act: the same for all batches of one action, which are one row; "": each call is a row.
    """

    name: str
    place: str
    selection: str = ""
    act: str = ""

    def on_all(self, selection: str) -> "Actor":
        """Return the actor of one action on all that match, which is made in batches."""
        return replace(self, selection=selection, act=new_id())


def name_of_user(user: object) -> str:
    """Return the name of a user from an object of any type; "" if it has none.

    Text is no name: security dependencies of FastAPI return tokens and keys as text.

    >>> from starlette.authentication import SimpleUser
    >>> name_of_user(SimpleUser("ada")), name_of_user("a-token")
    ('ada', '')
    """
    for attribute in _NAMES:
        with suppress(Exception):  # code of the application; Starlette's BaseUser raises
            name = getattr(user, attribute)
            if isinstance(name, str):
                return name
    return ""


_NAMES = ("display_name", "username")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One action.

    Args:
        action: the verb: "cancel", "retry", "delete", "pause", "resume", "limit",
            "pause schedule", "resume schedule", or another noted action, such as "run".
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
