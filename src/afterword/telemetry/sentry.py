"""The scope of an attempt, for Sentry: what its events have beside the exception.

Sentry takes errors from the log. Its SDK is not imported here first; if the application has, events
of an attempt, also those that the task itself sends, get tags and the name of the task.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

MODULE = "sentry_sdk"


def enter(task: str, extra: Mapping[str, Any], tags: Sequence[str]) -> None:
    """Name the attempt in the scope of the present context, which is the attempt's own."""
    sentry = sys.modules[MODULE]
    with contextlib.suppress(Exception):  # of another release of the SDK: the task has to run
        scope = sentry.get_isolation_scope()
        scope.set_transaction_name(task, source="task")
        for name, value in extra.items():
            scope.set_tag(f"afterword.{name}", str(value))
        if tags:
            scope.set_tag("afterword.tags", ",".join(tags))
