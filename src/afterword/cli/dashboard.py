"""`afterword dashboard`: the dashboard of a store, without an application."""

import importlib.util
import secrets
import threading
from typing import Annotated

import typer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from afterword.admin.running import add_by
from afterword.cli import output
from afterword.cli.listening import Host, listen
from afterword.cli.options import Url, clock, opened
from afterword.cli.parsers import whole
from afterword.cli.person import this_person
from afterword.dashboard import Person, Source, dashboard
from afterword.errors import MissingExtra
from afterword.model.audit import Actor
from afterword.model.job import NewJob
from afterword.store.protocol import Added, Store

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_UNKNOWN = "Open the URL with the token that `afterword dashboard` has printed.\n"


def show_dashboard(
    url: Url = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", parser=whole("PORT", 0, 65_535), help="The port; 0: any free one."
        ),
    ] = 8765,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Allow no changes; show arguments.")
    ] = False,
    trace_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The page of a trace, with {trace_id} in it, for links."),
    ] = None,
) -> None:
    """Serve the dashboard of a store, in a browser on this machine.

    Prints a URL with a token; without it, no request is answered. Needs only the store: your code
    is not imported. Ctrl-C ends it.

    \b
    Examples:
      afterword dashboard
      afterword dashboard --url sqlite:////var/lib/app/jobs.db --read-only
    """
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("afterword dashboard", "afterword[cli]")
    with opened(url) as store:
        serve(store, host, port, read_only=read_only, trace_url=trace_url)


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    read_only: bool = False,
    trace_url: str | None = None,
) -> None:
    """Serve the dashboard of an open store until Ctrl-C; prints its URL."""
    import uvicorn

    token = secrets.token_urlsafe(24)
    served = dashboard_of(
        store, token, hosts=_hosts(host), read_only=read_only, trace_url=trace_url
    )
    config = uvicorn.Config(
        served, host=host, port=port, log_level="warning", lifespan="off", access_log=False
    )
    listening = listen(config)
    output.tell(f"the dashboard of {store.url} (Ctrl-C ends it):")
    output.write(f"http://{_shown(host)}:{listening.getsockname()[1]}/?token={token}\n")
    uvicorn.Server(config).run(sockets=[listening])


def dashboard_of(
    store: Store,
    token: str,
    *,
    hosts: list[str] | None,
    read_only: bool = False,
    trace_url: str | None = None,
) -> ASGIApp:
    """Make the dashboard of an open store, for those who have the token."""
    adding = threading.Lock()  # one thread at a time writes to a store

    def add(job: NewJob, by: Actor) -> Added:
        with adding:
            return add_by(store, job, by)

    # A client with the token is assumed to be the user who has started the command.
    person = Person(this_person().name, may="read" if read_only else "operate")
    served = dashboard(
        Source(store=lambda: store, add=add, clock=clock),
        authorize=lambda request: person,
        hosts=hosts,
        readers_see_arguments=True,
        trace_url=trace_url,
    )
    return TokenGate(served, token)


class TokenGate:
    """Lets those in who came once by the URL with the token; a cookie remembers it.

    Args:
        application: serves them.
        token: the secret in the URL.
    """

    def __init__(self, application: ASGIApp, token: str) -> None:
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that has the token, in its cookie or in its URL."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request = Request(scope)
        cookie = f"afterword-{scope['server'][1]}"  # cookies do not know ports
        answer: ASGIApp = self._application
        if self._is_token(request.query_params.get("token")):
            answer = self._entered(request, cookie)  # without the token in the URL
        elif not self._is_token(request.cookies.get(cookie)):
            answer = PlainTextResponse(_UNKNOWN, 403, {"Cache-Control": "no-store"})
        await answer(scope, receive, send)

    def _entered(self, request: Request, cookie: str) -> Response:
        entered = RedirectResponse(request.url.path, 303, {"Referrer-Policy": "no-referrer"})
        entered.set_cookie(cookie, self._token, httponly=True, samesite="strict")
        return entered

    def _is_token(self, given: str | None) -> bool:
        return secrets.compare_digest((given or "").encode(), self._token.encode())


def _hosts(host: str) -> list[str] | None:
    """Return the names by which it may be reached; None: any, because it listens everywhere."""
    return None if host in _EVERYWHERE else [*_LOCAL, _shown(host)]


def _shown(host: str) -> str:
    if host in _EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
