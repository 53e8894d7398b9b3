"""The permissions of the dashboard, and the people who have them."""

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

# read: every screen. arguments: arguments, results and logs of jobs. The others are changes.
Permission = Literal[
    "read", "arguments", "retry", "cancel", "delete", "add", "queues", "schedules", "workers"
]
Grant = frozenset[str]  # permissions of one person

READ: Grant = frozenset({"read"})
OPERATE: Grant = frozenset(get_args(Permission))


@dataclass(frozen=True, slots=True)
class Person:
    """A person who uses the dashboard, as `authorize` may return them.

    Args:
        name: the user's name, for the audit.
        may: "read", "operate", a set of permissions, or None: nothing.
        tenant: a tag: only the jobs that have it are shown and changed. Default: all jobs.
    """

    name: str
    _: KW_ONLY
    may: str | Collection[str] | None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """The person who sends a request, as far as known, and their permissions."""

    name: str
    granted: Grant
    tenant: str | None = None
