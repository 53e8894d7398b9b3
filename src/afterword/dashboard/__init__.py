"""The dashboard: screens in a browser that show a store, and change its jobs and rules.

`Afterword.dashboard` mounts it in an application, and `afterword dashboard` serves it for a store
alone. Each screen is a function in a module of its own (`overview`, `jobs`, `job`, ...), with a
template and a line in `routes`. `access` checks permissions, `application` turns requests into
calls of screens, `view` has the arguments and the results of screens. The queries and changes
themselves are in `afterword.admin`, for the command line and the dashboard.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from afterword.dashboard.permissions import Person
from afterword.dashboard.source import Source
from afterword.errors import ConfigurationError, MissingExtra, safe_repr

if TYPE_CHECKING:
    from afterword.dashboard.application import Dashboard

_WEB = ("https://", "http://", "/")
_TRACE_ID = "{trace_id}"

__all__ = ["Person", "Source", "dashboard"]


def dashboard(
    source: Source,
    *,
    authorize: Any = None,
    hosts: Sequence[str] | None = None,
    readers_see_arguments: bool = False,
    trace_url: str | None = None,
    development: bool = False,
) -> "Dashboard":
    """Make the dashboard of a store; see `Afterword.dashboard`."""
    try:
        from afterword.dashboard.application import Dashboard
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        raise MissingExtra("The dashboard", "afterword[dashboard]") from error
    from afterword.dashboard.access import checked_hosts

    return Dashboard(
        replace(source, trace_url=_checked_trace_url(trace_url)),
        ask=_asking(authorize, development),
        hosts=checked_hosts(hosts),
        readers_see_arguments=readers_see_arguments,
    )


def _checked_trace_url(url: object) -> str:
    if url is None:
        return ""
    if not isinstance(url, str) or not url.startswith(_WEB) or _TRACE_ID not in url:
        raise ConfigurationError(
            f"trace_url must be the URL of a page for a trace, with {_TRACE_ID} in it, such as"
            f' "https://traces.example.org/trace/{_TRACE_ID}", but it is {safe_repr(url)}.'
        )
    return url


def _asking(authorize: Any, development: bool) -> Callable[[Request], Any] | None:
    """Return the function that asks `authorize` about a request; None in development."""
    from afterword.dashboard.access import ask
    from afterword.dashboard.guard import Guard, takes_request_only, untyped

    if authorize is None:
        if not development:
            raise ConfigurationError(_OPEN)
        return None
    if callable(authorize) and not inspect.isclass(authorize) and takes_request_only(authorize):
        return lambda request: ask(authorize, request)
    if callable(authorize) and (name := untyped(authorize)):
        raise ConfigurationError(
            f"The parameters of authorize must have types, but {name!r} has none: FastAPI would"
            " take its value from the URL, which every client can write.\n"
            f"    def staff({name}): ...  # incorrect!\n"
            "    def staff(request: Request): ...  # correct!"
        )
    if callable(authorize) or type(authorize).__name__ == "Depends":
        return Guard(authorize)
    raise ConfigurationError(
        "authorize must be a function of the request, or a FastAPI dependency, but it is"
        f" {safe_repr(authorize)}."
    )


_OPEN = (
    "dashboard() without `authorize` is for development: anyone who can reach the application"
    " could see all jobs and change them. Give it a function of the request (or a FastAPI"
    ' dependency) that returns None, "read" or "operate":\n'
    '    app.mount("/afterword", afterword.dashboard(authorize=staff))\n'
    "For development, set the environment variable AFTERWORD_DEV=1, or use FastAPI(debug=True) and"
    " install the Afterword before this call."
)
