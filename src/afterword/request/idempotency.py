"""Idempotency keys: a repeated request gives its jobs the same unique keys.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import json
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import Scope

from afterword.errors import ConfigurationError, safe_repr
from afterword.tasks.options import IDEMPOTENT

Whose = Callable[[HTTPConnection], str | None]


class RequestKey:
    """The Idempotency-Key of one request, combined with its method and path.

    Args:
        header: the client's key.
        whose: returns the owner of the key; called when the first job is added.
    """

    def __init__(self, scope: Scope, header: str, whose: Whose | None) -> None:
        self._scope, self._header, self._whose = scope, header, whose
        self._parts: tuple[str, ...] | None = None
        self._resolved = False

    @classmethod
    def of(cls, scope: Scope, idempotent: bool | Whose) -> "RequestKey | None":
        """The key of a request; None if it has none, or if `idempotent` is False."""
        if idempotent is False:
            return None
        for name, value in scope.get("headers", ()):
            if name == b"idempotency-key" and value.strip():
                whose = None if idempotent is True else idempotent
                return cls(scope, value.decode("latin-1"), whose)
        return None

    def resolve(self) -> None:
        """Call `whose`, once.

        Raises:
            ConfigurationError: it returned neither text nor None.
        """
        if not self._resolved:
            self._parts, self._resolved = self._owned(), True

    def of_call(self, task: str, number: int, *, bound: bool = False) -> str | None:
        """The unique key of the `number`-th call of a task; None if the request's key has no owner.

        Call `resolve` first.

        Args:
            bound: the call is added in a transaction of the user's; these are counted separately.
        """
        if self._parts is None:
            return None
        text = json.dumps([*self._parts, task, number, bound])
        return f"{IDEMPOTENT}{hashlib.sha256(text.encode()).hexdigest()}"

    def _owned(self) -> tuple[str, ...] | None:
        request = (self._scope.get("method", ""), self._scope["path"], self._header)
        if self._whose is None:
            return request
        owner = self._whose(HTTPConnection(self._scope))
        if owner is None:
            return None
        if not isinstance(owner, str):
            raise ConfigurationError(
                "The function of Afterword(idempotent=...) must return the owner of the key, as"
                f" text, or None, but it returned {safe_repr(owner)}."
                " Example: idempotent=lambda request: request.user.username"
            )
        return (*request, owner)
