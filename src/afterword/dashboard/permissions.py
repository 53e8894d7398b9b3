"""The permissions of the dashboard."""

from typing import Literal, get_args

# read: every screen. arguments: arguments, results and logs of jobs. The others are changes.
Permission = Literal[
    "read", "arguments", "retry", "cancel", "delete", "add", "queues", "schedules", "workers"
]
Grant = frozenset[str]  # permissions of one person

READ: Grant = frozenset({"read"})
OPERATE: Grant = frozenset(get_args(Permission))
