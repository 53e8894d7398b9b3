"""The ASGI application that Prometheus and autoscalers ask."""

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from afterword.errors import ConfigurationError, MissingExtra, StoreError
from afterword.exporter.depth import depth
from afterword.exporter.ended import EndedJobs
from afterword.exporter.gauges import Gauges
from afterword.model.answers import settled

Authorize = Callable[[Request], Any]


def exporter(
    gauges: Gauges, ended: EndedJobs, *, authorize: Authorize | None = None, in_worker: bool = False
) -> Starlette:
    """Make the application.

    Args:
        authorize: see `Afterword.metrics`.
        in_worker: also include the rare events of this process.

    Raises:
        MissingExtra: prometheus-client is not installed.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingExtra("The page for Prometheus", "afterword[prometheus]")
    from afterword.exporter.prometheus import StoreCollector, page

    collector = StoreCollector(gauges, ended, in_worker=in_worker)

    async def show_page(request: Request) -> Response:
        await _authorize(authorize, request)
        accepted = request.headers.get("accept", "")
        body, content_type = await _read(lambda: page(collector, accepted))
        return Response(body, headers={"Content-Type": content_type})

    async def show_depth(request: Request) -> Response:
        await _authorize(authorize, request)
        queue = request.path_params.get("queue")
        return JSONResponse(await _read(lambda: depth(gauges, queue)))

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/metrics", show_page),
            Route("/queues", show_depth),
            Route("/queues/{queue:path}", show_depth),
        ]
    )


async def _authorize(authorize: Authorize | None, request: Request) -> None:
    if authorize is None:
        return
    if inspect.iscoroutinefunction(authorize):
        answer = await authorize(request)
    else:
        answer = await run_in_threadpool(authorize, request)
    answer = await settled(answer)
    if answer in (False, None):
        raise HTTPException(403)
    if answer is not True:
        raise ConfigurationError(
            "authorize of Afterword.metrics() must return True or False, but it returned a"
            f" {type(answer).__qualname__}.\n"
            "    return request.user  # incorrect!\n"
            "    return request.user.is_staff  # correct!"
        )


async def _read(read: Callable[[], Any]) -> Any:
    """Read the store in a thread; it answers 503 while the store is away."""
    try:
        return await run_in_threadpool(read)
    except StoreError as error:
        raise HTTPException(503, "The store is not available.") from error
