"""Access to the dashboard: checks of the host, the origin and the permissions.

A request must pass four checks, in this order:

1. **Host.** With `hosts`, the Host header must name one of them. So a site whose own name resolves
   to this server (DNS rebinding) is refused.
2. **Origin**, for changes only: the request must come from a page of the dashboard itself, or from
   a program that sends an `Authorization` header of its own.
3. **authorize** returns the permissions of the person.
4. The route needs one permission, as `routes.py` says.

Without `authorize` there is no dashboard, except in development; then it answers only clients on
the same machine.
"""

import inspect
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from afterword.dashboard.permissions import OPERATE, READ, Access, Grant, Permission, Person
from afterword.errors import ConfigurationError, safe_repr
from afterword.model.answers import settled
from afterword.model.audit import name_of_user

NOT_LISTED = "This host is not one of the dashboard's hosts."
CROSS_SITE = "The request does not come from a page of this dashboard."
NOT_LOCAL = "Without `authorize`, the dashboard answers only clients on this machine."
FORBIDDEN = "You have no permission to see this."
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s/@\[\]]+)(?::\d+)?")


def checked_hosts(hosts: Sequence[str] | None) -> frozenset[str] | None:
    """Return the names of hosts, without ports.

    Raises:
        ConfigurationError: they are not a list of names.
    """
    if hosts is None:
        return None
    named: Sequence[object] = [hosts] if isinstance(hosts, str) else hosts
    if named is not hosts or not all(isinstance(each, str) and _name_of(each) for each in named):
        raise ConfigurationError(
            f'hosts must be a list of names, such as ["admin.example.org"], but it is'
            f" {safe_repr(hosts)}."
        )
    return frozenset(_name_of(each) for each in hosts)


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port; "" if it is not one."""
    found = _HOST.fullmatch(host.strip())
    return found[1].lower() if found else ""


# ---------------------------------------------------------------------- the checks


def require_host(request: Request, hosts: Collection[str] | None) -> None:
    """Refuse a request for a host that is not listed.

    Raises:
        HTTPException: 400.
    """
    if hosts is not None and _name_of(request.headers.get("host", "")) not in hosts:
        raise HTTPException(400, NOT_LISTED)


def require_own_page(request: Request) -> None:
    """Refuse a request that another site may have caused.

    Browsers send the origin of a request in `Sec-Fetch-Site`; older ones, and those on plain HTTP,
    in `Origin`. A program that sends neither must send a header that no browser adds by itself.

    Raises:
        HTTPException: 403.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    elif origin is not None:
        named = _host_in(origin)
        own = bool(named) and named == request.headers.get("host", "").lower()
    else:
        own = "authorization" in request.headers
    if not own:
        raise HTTPException(403, CROSS_SITE)


def _host_in(origin: str) -> str:
    """Return the host and port of an origin; "" if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def require_local(request: Request) -> None:
    """Refuse a request from another machine, also one that a proxy passed on.

    Raises:
        HTTPException: 403.
    """
    client = request.client.host if request.client else ""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")
    addresses = [client, *(each.strip() for each in forwarded if each.strip())]
    named = _name_of(request.headers.get("host", ""))
    local = named in _LOCAL_NAMES or named.endswith(".localhost")
    if not local or "forwarded" in request.headers or not all(map(_is_loopback, addresses)):
        raise HTTPException(403, NOT_LOCAL)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------------- authorize

Authorize = Callable[..., Any]


async def ask(authorize: Authorize, request: Request) -> object:
    """Call an `authorize` that takes the request; a `def` runs in a thread."""
    if inspect.iscoroutinefunction(authorize):
        return await authorize(request)
    return await run_in_threadpool(authorize, request)


async def access_of(answer: object, request: Request, *, readers_see_arguments: bool) -> Access:
    """Return the name and the permissions of a person from the answer of `authorize`.

    Without a name in the answer, the name of `request.user` is used, if the application has such a
    middleware. The permissions are empty for None and False.

    Raises:
        HTTPException: it was returned instead of raised.
        ConfigurationError: the answer is not one of the possible ones.
    """
    answer = await settled(answer)
    name, tenant = name_of_user(request.scope.get("user")), None
    if isinstance(answer, Person):
        name, tenant = _checked_name(answer.name), _checked_tenant(answer.tenant)
        answer = answer.may
    if answer is None or answer is False:
        return Access(name, frozenset())
    granted = _permissions_in(answer)
    more = {"arguments"} if granted and readers_see_arguments else set()
    return Access(name, granted | more, tenant)


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(
            f"The name of a Person must be text, but it is {safe_repr(name)}.\n"
            '    return Person(user, may="operate")  # incorrect!\n'
            '    return Person(user.email, may="operate")  # correct!'
        )
    return name


def _checked_tenant(tenant: object) -> str | None:
    if tenant is not None and (not isinstance(tenant, str) or not tenant):
        raise ConfigurationError(
            "The tenant of a Person must be the tag of their jobs, or None for all jobs, but it is"
            f' {safe_repr(tenant)}. Example: Person(user.name, may="read", tenant="customer-7")'
        )
    return tenant


def _permissions_in(answer: object) -> Grant:
    if answer == "read":
        return READ
    if answer == "operate":
        return OPERATE
    known = get_args(Permission)
    if (
        isinstance(answer, Collection)
        and not isinstance(answer, str | bytes | Response | Mapping)
        and all(isinstance(each, str) and each in known for each in answer)
    ):
        return READ | frozenset(answer) if answer else frozenset()
    raise ConfigurationError(
        'authorize must return None, "read", "operate", or a set of permissions'
        f" ({', '.join(known)}), or a Person who may do these, but it returned"
        f" {safe_repr(answer)}.\n"
        "    return user.is_staff  # incorrect!\n"
        '    return "operate" if user.is_staff else None  # correct!'
    )
