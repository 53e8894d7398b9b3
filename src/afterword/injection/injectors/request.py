"""The replacement for `Request` that a dependency receives in a task."""

from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.requests import Request

from afterword.errors import TaskRequestError

_HAS = frozenset({"app", "state", "scope"})


class TaskRequest(Request):
    """A request with the parts that a task has: `app`, `state`, and `scope` with these two.

    `request.state` has the values that the application's lifespan yielded, and those that other
    dependencies of the same attempt have set. Every other attribute of a request raises a
    `TaskRequestError`.

    Args:
        app: the application.
        state: the values that its lifespan yielded.

    Example:
        >>> request = TaskRequest("the application", {"pool": 1})
        >>> request.app, request.state.pool
        ('the application', 1)
        >>> request.headers  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        afterword.errors.TaskRequestError: A task runs after its request...
    """

    def __init__(self, app: object, state: Mapping[str, Any]) -> None:
        self.scope = _Scope({"type": "http", "app": app, "state": dict(state)})

    def __getattribute__(self, name: str) -> Any:
        if name not in _HAS and not name.startswith("_") and hasattr(Request, name):
            _refuse(f"Request.{name}")
        return super().__getattribute__(name)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


class _Scope(dict[str, Any]):
    def __missing__(self, key: str) -> NoReturn:
        _refuse(f"Request.scope[{key!r}]")


def _refuse(what: str) -> NoReturn:
    raise TaskRequestError(
        f"A task runs after its request, maybe in another process, so {what} does not exist."
        " Take it in the route, and pass it to the task as an argument. (Request.app and"
        " Request.state can be used in a task's dependencies.)"
    )
