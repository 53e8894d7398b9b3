"""The ASGI application of the dashboard.

It has no lifespan and no state of its own except caches: it can be mounted anywhere, any number of
times, and several processes can serve it side by side. Screens are plain functions (`view.py`),
listed in `routes.py`; this module turns a request into a `View`, and the answer into a response.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from itertools import chain, islice
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, quote
from zlib import crc32

from jinja2 import Environment
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from afterword.admin.ids import NotFound
from afterword.dashboard import access
from afterword.dashboard.permissions import OPERATE, Access
from afterword.dashboard.recent import Recent
from afterword.dashboard.rendering import environment, readable
from afterword.dashboard.routes import ROUTES, Route, menu, section_of
from afterword.dashboard.source import Source
from afterword.dashboard.static_files import StaticFile, static_files
from afterword.dashboard.tenant import OfTenant
from afterword.dashboard.view import (
    Answer,
    Download,
    Fields,
    Forbidden,
    Page,
    Redirect,
    View,
    fields_of,
)
from afterword.errors import AfterwordError, ConfigurationError, StoreError
from afterword.model.audit import Actor
from afterword.store.protocol import Store
from afterword.tasks.payload import PAYLOAD_LIMIT

T = TypeVar("T")
Ask = Callable[[Request], Any]  # returns the answer of `authorize`, or an awaitable of it

AT_ONCE = 4  # threads that ask the store: as many as a person needs who opens several tabs
CHUNKS = 200  # of a download that are made at a time
FORM_LIMIT = 4 * PAYLOAD_LIMIT  # bytes: a form may write three for one
_RENEW = 15.0  # seconds after which an open page is rendered again although nothing has changed
_TRY_AGAIN = "5"  # seconds
_AWAY = "The store cannot be reached. Trying again."
_OUTER = "afterword.outer"  # in the scope: the application around the dashboard
_FORM = "application/x-www-form-urlencoded"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex, nofollow",
}


class Dashboard:
    """The dashboard as an ASGI application, to be mounted.

    Args:
        source: the store that it shows.
        ask: returns the answer of `authorize` for a request; None in development.
        hosts: the names by which it may be reached; None: any.
        readers_see_arguments: True shows arguments and results to everyone with "read".
    """

    def __init__(
        self,
        source: Source,
        *,
        ask: Ask | None,
        hosts: frozenset[str] | None = None,
        readers_see_arguments: bool = False,
    ) -> None:
        self._source = source
        self._ask = ask
        self._hosts = hosts
        self._readers_see_arguments = readers_see_arguments
        self._files = static_files()
        self._templates: Environment = environment()
        self._recent = Recent()
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        routes = [
            *(self._route(each) for each in ROUTES),
            *(self._static_route(each) for each in self._files.values()),
        ]
        # Other exceptions, also those of `authorize`, are for the application around it.
        self._application = ExceptionMiddleware(
            Router(routes, redirect_slashes=False), {HTTPException: self._refused}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; a WebSocket is closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            own = {**scope, _OUTER: scope.get("app"), "app": self}
            await self._application(own, receive, _with_headers(send))

    # ------------------------------------------------------------------ routes

    def _static_route(self, file: StaticFile) -> StarletteRoute:
        async def serve(request: Request) -> Response:
            access.require_host(request, self._hosts)
            caching = {"Cache-Control": "public, max-age=31536000, immutable"}
            return Response(file.body, headers=caching, media_type=file.media_type)

        return StarletteRoute(file.path, serve, methods=["GET"])

    def _route(self, route: Route) -> StarletteRoute:
        async def serve(request: Request) -> Response:
            known = await self._access(request)
            if route.needs not in known.granted:
                raise HTTPException(403, access.FORBIDDEN)
            if known.tenant is not None and not route.for_tenants:
                return _away_from(route, request)
            form = await _form_of(request)
            return await self._in_thread(lambda: self._respond(route, request, known, form))

        return StarletteRoute(route.path, serve, methods=[route.method], name=route.name)

    async def _access(self, request: Request) -> Access:
        """Return the name and the permissions of the person, after all checks."""
        access.require_host(request, self._hosts)
        if request.method not in ("GET", "HEAD"):
            access.require_own_page(request)
        if self._ask is None:
            access.require_local(request)
            return Access("", OPERATE)
        # For `authorize`, `request.app` is the application around the dashboard.
        theirs = Request({**request.scope, "app": request.scope[_OUTER]})
        return await access.access_of(
            await self._ask(theirs), theirs, readers_see_arguments=self._readers_see_arguments
        )

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Call in a thread, which may wait for the store."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = loop, asyncio.Semaphore(AT_ONCE)
        async with self._turns[1]:
            return await asyncio.to_thread(call)

    # ------------------------------------------------------------------ one request, in a thread

    def _respond(self, route: Route, request: Request, known: Access, form: Fields) -> Response:
        try:
            view = self._view(route, request, known, form)
            # Before the screen looks: what changes meanwhile is news for the next poll.
            tag = _tag_of(view)
            if view.poll and request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"ETag": tag})
            answer = route.serve(view)
            if request.method == "HEAD" and isinstance(answer, Download):
                answer = replace(answer, chunks=())  # the file would be made, and not be sent
            return self._response(answer, view, known, tag)
        except AfterwordError as error:
            return self._failed(error, request, route.name, known)

    def _view(self, route: Route, request: Request, known: Access, form: Fields) -> View:
        query = request.url.query
        path = quote(route.path.format(**request.path_params))
        by = Actor(name=known.name, place="dashboard")
        return View(
            store=_store_for(known, self._source.store()),
            tenant=known.tenant,
            now=self._source.clock.now(),
            by=by,
            granted=known.granted,
            root=_root_of(request),
            screen=route.name,
            here=_root_of(request) + path + (f"?{query}" if query else ""),
            path=request.path_params,
            query=fields_of(request.query_params.multi_items()),
            form=form,
            add=lambda job: self._source.add(job, by),
            new_job=self._source.new_job,
            parameters=self._source.parameters,
            tasks=self._source.tasks,
            trace_url=self._source.trace_url,
            recent=Recent() if known.tenant else self._recent,  # answers are of all jobs
            settings=self._source.settings,
            poll=_is_poll(request),
        )

    def _response(self, answer: Answer, view: View, known: Access, tag: str) -> Response:
        if isinstance(answer, Redirect):
            return RedirectResponse(answer.url, 303)
        if isinstance(answer, Download):
            chunks = iter(answer.chunks)
            first = list(islice(chunks, 2))  # a heading and some jobs: what is wrong is told now
            disposition = f'attachment; filename="{answer.name}"'
            return StreamingResponse(
                self._sent(chain(first, chunks)),
                media_type=answer.media_type,
                headers={"Content-Disposition": disposition},
            )
        return self._rendered(answer, view.root, view.screen, known, view, tag)

    async def _sent(self, chunks: Iterable[str]) -> AsyncIterator[bytes]:
        iterator = iter(chunks)
        while some := await self._in_thread(lambda: "".join(islice(iterator, CHUNKS))):
            yield some.encode("utf-8", "backslashreplace")

    def _rendered(
        self,
        page: Page,
        root: str,
        screen: str,
        known: Access,
        view: View | None = None,
        tag: str = "",
    ) -> Response:
        files = {name: root + file.path for name, file in self._files.items()}
        text = self._templates.get_template(page.template).render(
            page=page,
            layout="fragment.html" if view and view.poll else "base.html",
            live_url=page.live_url or (view.here if view else ""),
            view=view,
            root=root,
            section=section_of(screen),
            granted=known.granted,
            files=files,
            menu=menu(known.tenant),
            tag=tag if page.live else "",
            now=view.now if view else 0.0,
            # A command line is for who has the store, and would change the jobs of all tenants.
            **{**page.values, **({"command": ""} if known.tenant else {})},
        )
        headers = {"ETag": tag} if page.live and tag else None
        return Response(text, page.status, headers, media_type="text/html")

    # ------------------------------------------------------------------ errors

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        without_slash = _without_slash(request)
        if error.status_code == 404 and without_slash:
            return RedirectResponse(without_slash, 307)
        if _is_poll(request) and 300 <= error.status_code < 400:
            return Response(status_code=401)  # the page itself goes there; see afterword.js
        if _is_poll(request):
            return PlainTextResponse(str(error.detail), error.status_code, error.headers)
        values = {"status": error.status_code, "reason": error.detail, "retries": False}
        page = Page(template="error.html", title=error.detail, values=values)
        response = self._rendered(page, _root_of(request), "", Access("", frozenset()))
        response.status_code = error.status_code
        response.headers.update(error.headers or {})
        return response

    def _failed(
        self, error: AfterwordError, request: Request, screen: str, known: Access
    ) -> Response:
        """Answer an error of a screen with a page that explains it."""
        status = _status_of(error)
        if status is None:
            raise error
        if _is_poll(request):
            return PlainTextResponse(_AWAY if status == 503 else readable(str(error)), status)
        # A page that a form has led to cannot be asked for again.
        retries = isinstance(error, StoreError) and request.method != "POST"
        hidden = status == 503 and known.tenant is not None  # it says where the store is
        values = {"status": status, "reason": "" if hidden else str(error), "retries": retries}
        page = Page(template="error.html", title="Problem", values=values, status=status)
        response = self._rendered(page, _root_of(request), screen, known)
        if retries:
            # Browsers heed it without JavaScript, too.
            response.headers["Refresh"] = response.headers["Retry-After"] = _TRY_AGAIN
        return response


def _store_for(known: Access, store: Store) -> Store:
    """Return the store as this person may see it."""
    return store if known.tenant is None else cast(Store, OfTenant(store, known.tenant))


def _away_from(route: Route, request: Request) -> Response:
    """Answer a tenant's request for a screen of all jobs; their first screen is Jobs."""
    if route.name == "overview":
        return RedirectResponse(f"{_root_of(request)}/jobs", 303)
    raise HTTPException(403, access.FORBIDDEN)


def _status_of(error: AfterwordError) -> int | None:
    kinds: tuple[tuple[type[AfterwordError], int], ...] = (
        (NotFound, 404),
        (Forbidden, 403),
        (StoreError, 503),
        (ConfigurationError, 400),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), None)


def _with_headers(send: Send) -> Send:
    """Add the headers of all responses."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _root_of(request: Request) -> str:
    """Return the path under which the dashboard is mounted, proxies' prefixes included."""
    root: str = request.scope.get("root_path", "")
    return quote(root.rstrip("/"))


def _is_poll(request: Request) -> bool:
    """Return True if an open page polls for changes."""
    return "hx-request" in request.headers


def _without_slash(request: Request) -> str:
    """Return the URL without the slashes at its end, as a path; "" if there is none."""
    root, path = request.scope.get("root_path", ""), request.scope["path"]
    inner = path.removeprefix(root) if path.startswith(root) else path
    if not inner.strip("/") or not inner.endswith("/"):
        return ""
    query = request.url.query
    return f"{_root_of(request)}/{quote(inner.strip('/'))}" + (f"?{query}" if query else "")


def _tag_of(view: View) -> str:
    """Return a tag that changes with the store, with permissions, and with time."""
    granted = "".join(sorted(each[:3] for each in view.granted))
    tenant = f"-{crc32(view.tenant.encode()):x}" if view.tenant else ""
    return f'"{view.store.revision()}-{int(view.now // _RENEW):x}-{granted}{tenant}"'


async def _form_of(request: Request) -> Fields:
    """Read the fields of a form.

    Raises:
        HTTPException: it is too large, or no form.
    """
    if request.method != "POST":
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise HTTPException(415, f"A change must be sent as {_FORM}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_LIMIT:
            raise HTTPException(413, f"A form must have at most {FORM_LIMIT:,} bytes.")
    text = bytes(body).decode("ascii", "replace")
    return fields_of(parse_qsl(text, keep_blank_values=True))
