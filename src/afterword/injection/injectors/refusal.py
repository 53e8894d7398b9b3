"""Refusals of dependencies that can never be met in a worker, each with a way out."""

import inspect
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import params
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.background import BackgroundTasks
from starlette.responses import Response
from starlette.websockets import WebSocket

from afterword.errors import InjectionError
from afterword.injection.injectors.markers import Marker
from afterword.injection.needs import Function
from afterword.tasks.signature import Hint, name_of

_WITHOUT = "Take it in the route and pass it to the task as an argument, or give it a default."
_TYPES: dict[type, tuple[str, str]] = {
    WebSocket: ("the connection of a client", "Send to the client in the route."),
    Response: ("the response, which has been sent", "Set headers and cookies in the route."),
    SecurityScopes: ("a part of a security scheme", "Authenticate in the route."),
    BackgroundTasks: (
        "FastAPI's own BackgroundTasks, which belong to a request",
        "Take `afterword.fastapi.BackgroundTasks` instead.",
    ),
}
_PLACES: dict[type, str] = {
    params.Path: "the path",
    params.Query: "the query",
    params.Header: "the headers",
    params.Cookie: "the cookies",
    params.File: "a file",
    params.Form: "the form",
    params.Body: "the body",
}


@dataclass(frozen=True, slots=True)
class Path:
    """The path to a parameter: `send(user) → get_user(token)`."""

    func: Function
    open: tuple[Function, ...] = ()
    text: str = ""

    def to(self, parameter: str) -> "Path":
        """Extend the path to one of the function's parameters."""
        arrow = " → " if self.text else ""
        return Path(self.func, self.open, f"{self.text}{arrow}{name_of(self.func)}({parameter})")

    def into(self, func: Function) -> "Path":
        """Extend the path into the function that is called for the parameter."""
        if func in self.open:
            _refuse(self, f"{name_of(func)} again, and so on without end", "Break the cycle.")
        return Path(func, (*self.open, func), self.text)


def of_security(marker: params.Depends, hint: Hint, path: Path) -> None:
    """Refuse security schemes, which authenticate a request."""
    call = marker.dependency or hint.bare
    scheme = inspect.unwrap(call) if callable(call) else call
    if isinstance(marker, params.Security) or isinstance(scheme, SecurityBase):
        _refuse(
            path,
            f"a security scheme ({name_of(call)})",
            "Authenticate in the route, and pass the task the user's id.",
        )


def of_wireup(path: Path) -> NoReturn:
    """Refuse Wireup's marker on a dependency's parameter, where no framework reads it."""
    _refuse(
        path,
        "injected by Wireup, which does not look into a `Depends`",
        "Make it a parameter of the task, or decorate the dependency with Wireup's `inject`.",
    )


def of_type(annotation: Any, path: Path) -> None:
    """Refuse types that only a connection has."""
    if not isinstance(annotation, type):
        return
    for kind, (what, way_out) in _TYPES.items():
        if issubclass(annotation, kind):
            _refuse(path, what, way_out)


def of_required(marker: Marker | None, path: Path) -> NoReturn:
    """Refuse a required part of the request."""
    place = _PLACES.get(type(marker), "the query or the body")
    _refuse(path, f"a required part of the request (of {place})", _WITHOUT)


def limit_of(marker: params.Depends, path: Path) -> Any:
    """Return FastAPI's own semaphore for `max_concurrency`, so that tasks and routes share it."""
    if getattr(marker, "max_concurrency", None) is None:
        return None
    limit = getattr(marker, "_concurrency", None)
    if not callable(getattr(limit, "get_semaphore", None)):
        _refuse(
            path,
            "limited by max_concurrency, which this release of FastAPI supports in routes only",
            "Leave max_concurrency out.",
        )
    return limit


def _refuse(path: Path, what: str, way_out: str) -> NoReturn:
    task = path.text.partition("(")[0]
    raise InjectionError(
        f"{task} cannot run in a worker, where there is no request: {path.text} is {what}."
        f" {way_out}"
    )
