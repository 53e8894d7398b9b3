"""FastAPI dependencies as `authorize`: they are resolved by FastAPI itself.

A small FastAPI application with one route has the dependency. Each request is passed to it first,
and the dashboard continues with the returned value.
"""

import inspect
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Scope

from afterword.errors import MissingExtra

_ANSWER = "afterword.answer"  # in the scope: what the dependency has returned
_REFUSAL = "afterword.refusal"  # or the exception that it has raised


def takes_request_only(authorize: Callable[..., Any]) -> bool:
    """Return True if a function takes the request, and nothing that FastAPI must provide."""
    try:
        parameters = list(inspect.signature(authorize).parameters.values())
    except (TypeError, ValueError):
        return False
    required = [each for each in parameters if each.default is inspect.Parameter.empty]
    first = parameters[0] if parameters else None
    if first is None or first.kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        return False
    if first.annotation is inspect.Parameter.empty:
        typed = first.name == "request"
    else:
        name = first.annotation
        typed = name in ("Request", "HTTPConnection") or (
            isinstance(name, type) and issubclass(Request, name)
        )
    return typed and len(parameters) == max(len(required), 1) == 1


def untyped(authorize: Callable[..., Any]) -> str:
    """Return the first parameter that FastAPI would take from the query by default; "" if none.

    >>> untyped(lambda user: "operate"), untyped(lambda user="": "read")
    ('user', '')
    """
    try:
        parameters = inspect.signature(authorize).parameters.values()
    except (TypeError, ValueError):
        return ""
    empty = inspect.Parameter.empty
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    found = (p for p in parameters if p.kind in plain and p.annotation is p.default is empty)
    return next((each.name for each in found), "")


class Guard:
    """Resolves a dependency.

    Args:
        authorize: a function with parameters that FastAPI provides, or `Depends(...)`.

    Raises:
        MissingExtra: FastAPI is not installed.
    """

    def __init__(self, authorize: Any) -> None:
        try:
            from fastapi import Depends, FastAPI, params
            from fastapi.exceptions import RequestValidationError
        except ImportError as error:
            raise MissingExtra("An authorize that is a dependency", "fastapi") from error

        dependency = authorize if isinstance(authorize, params.Depends) else Depends(authorize)

        async def allowed(request: Request, answer: Any = dependency) -> Response:
            request.scope[_ANSWER][_ANSWER] = answer
            return Response(status_code=204)

        async def refused(request: Request, error: Exception) -> Response:
            request.scope[_ANSWER][_REFUSAL] = error
            return Response(status_code=204)

        self._application = FastAPI(
            openapi_url=None,
            exception_handlers={HTTPException: refused, RequestValidationError: refused},
        )
        self._application.add_api_route(
            "/{path:path}", allowed, methods=["GET", "HEAD", "POST"], response_model=None
        )

    async def __call__(self, request: Request) -> object:
        """Return the dependency's value.

        Raises:
            HTTPException: it refused, or a value that it needs is missing.
        """
        outer: ASGIApp | None = request.scope.get("app")
        self._application.dependency_overrides = getattr(outer, "dependency_overrides", {})
        found: dict[str, object] = {}
        scope: Scope = {**request.scope, _ANSWER: found}
        await self._application(scope, _no_body, _drop)
        refusal = found.get(_REFUSAL)
        if isinstance(refusal, HTTPException):
            raise refusal
        if refusal is not None or _ANSWER not in found:
            raise HTTPException(422, "A value that `authorize` needs is missing or not valid.")
        return found[_ANSWER]


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _drop(_message: Message) -> None:
    pass
