"""The scope of an attempt, for Sentry: the tags and the task's name in its events.

Sentry takes errors from the log. Its SDK is not imported here first; if the application has, events
of an attempt, also those that the task itself sends, get tags and the name of the task, and what
the application has set in the scope of its start.
"""

import contextlib
import contextvars
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_MODULE = "sentry_sdk"


def scope_here() -> Any:
    """Return the present scope, to be that of the application; None: it does not use Sentry."""
    with contextlib.suppress(Exception):  # of another release of the SDK
        return sys.modules[_MODULE].get_isolation_scope()
    return None


def enter(
    variables: contextvars.Context,
    scope: Any,
    task: str,
    extra: Mapping[str, Any],
    tags: Sequence[str],
) -> None:
    """Give the context of an attempt a scope of its own: a copy, without breadcrumbs.

    Args:
        scope: the one to copy; None: the present one of that context.
    """
    with contextlib.suppress(Exception):  # of another release of the SDK: the task has to run
        variables.run(_enter, scope, task, extra, tags)


def _enter(scope: Any, task: str, extra: Mapping[str, Any], tags: Sequence[str]) -> None:
    sentry = sys.modules[_MODULE]
    own = (scope or sentry.get_isolation_scope()).fork()
    sentry.Scope.set_isolation_scope(own)
    own.clear_breadcrumbs()
    own.set_transaction_name(task, source="task")
    for name, value in extra.items():
        own.set_tag(f"afterword.{name}", str(value))
    if tags:
        own.set_tag("afterword.tags", ",".join(tags))
