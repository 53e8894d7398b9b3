"""For FastAPI applications: change one import, keep the line.

    from afterword.fastapi import BackgroundTasks

    @app.post("/send-notification/{email}")
    async def send_notification(email: str, background_tasks: BackgroundTasks):
        background_tasks.add_task(write_notification, email, message="some notification")

FastAPI injects its own class for every subclass of Starlette's `BackgroundTasks`. So our class is
no subclass, and the name is an alias for `Annotated[BackgroundTasks, Depends(provide)]`.

`provide` must know whether the handler succeeded. It pushes a callback onto the exit stack that
FastAPI unwinds with the request. If the handler raised, or the response did not validate, the
callback sees the exception before the error response starts; on success it is called later.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast
from urllib.parse import quote

from afterword.errors import MissingExtra, NotInstalled

try:
    from fastapi import BackgroundTasks as FastAPIBackgroundTasks
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
    from fastapi.responses import JSONResponse
except ImportError as error:
    raise MissingExtra("afterword.fastapi", "fastapi") from error

from starlette.background import BackgroundTask as AnyBackgroundTask
from starlette.routing import NoMatchFound
from starlette.types import Receive, Scope, Send

from afterword.app import Afterword
from afterword.client.handle import Job
from afterword.model.checks import check_number
from afterword.request import background
from afterword.request.background import BackgroundTask
from afterword.request.job_status import AcceptedJob
from afterword.request.jobs_router import JOB_ROUTE
from afterword.request.outbox import Outbox

__all__ = ["Accepted", "AfterwordDep", "BackgroundTask", "BackgroundTasks"]


async def provide(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> background.BackgroundTasks:
    """Provide the request's BackgroundTasks, the same for its handler and all its dependencies."""
    outbox = _outbox(connection, in_request)
    connection.scope["fastapi_inner_astack"].push(outbox.leave)
    return background.BackgroundTasks.of_request(outbox)


async def provide_before_0_121(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> AsyncIterator[background.BackgroundTasks]:
    """Provide it in FastAPI releases without a public exit stack: 100 µs slower per request.

    Before 0.118, dependencies are left before the response, and before FastAPI raises that the
    request was invalid, so only the response itself shows whether the handler failed.
    """
    outbox = _outbox(connection, in_request)
    try:
        yield background.BackgroundTasks.of_request(outbox)
    except BaseException as error:
        outbox.drop_if_failed(error)
        raise
    outbox.in_doubt = not outbox.answered


def _outbox(connection: HTTPConnection, in_request: FastAPIBackgroundTasks) -> Outbox:
    outbox = _installed(connection, "BackgroundTasks")
    if outbox.run_in_request is None:
        # A call that cannot be stored runs as FastAPI's own tasks do: after the body, while the
        # dependencies are open.
        outbox.run_in_request = in_request.add_task
    return outbox


def _installed(connection: HTTPConnection, name: str) -> Outbox:
    outbox: Outbox | None = connection.scope.get("afterword.request.outbox")
    if outbox is None:
        raise NotInstalled(
            f"afterword.fastapi.{name} needs Afterword in the application that serves the"
            " request. Add it once, beside the application:\n"
            "    app = FastAPI()\n"
            "    afterword = Afterword(app)"
        )
    return outbox


async def running(connection: HTTPConnection) -> Afterword:
    """Provide the Afterword of the application that serves the request."""
    return cast("Afterword", _installed(connection, "AfterwordDep").intake.owner)


# A parameter of routes and dependencies, so that their modules need not import the application's
# Afterword: `async def route(afterword: AfterwordDep)`.
AfterwordDep = Annotated[Afterword, Depends(running)]


class Accepted(JSONResponse):
    """The response 202 with the URL of a job's status.

    The body has the job's id and state, `Location` its URL in `Afterword.jobs_router`. The jobs of
    the request are stored before the response is written. Only then is the job's id certain,
    because a unique key may belong to a job of another request.

    Args:
        job: the job that `add_task` returned.
        location: the URL of the job, with `{id}` for its id. Default: that of the jobs router, if
            the application has included it; otherwise there is no `Location`.
        retry_after: seconds after which the client may first ask for the status. Default: 1.
        headers: further headers.
        background: tasks to run after the response.

    Raises:
        ConfigurationError: `retry_after` is not a whole number from 0 to 86,400.

    Example:
        @app.post("/reports", status_code=202, responses=Accepted.responses)
        async def order(background_tasks: BackgroundTasks) -> Accepted:
            return Accepted(background_tasks.add_task(write_report))
    """

    responses: ClassVar[dict[int | str, dict[str, Any]]] = {
        202: {
            "model": AcceptedJob,
            "description": "A job does the work",
            "headers": {
                "Location": {
                    "description": "The URL of the job's status",
                    "schema": {"type": "string", "format": "uri-reference"},
                },
                "Retry-After": {
                    "description": "Seconds after which to ask for the status",
                    "schema": {"type": "integer"},
                },
            },
        }
    }

    def __init__(
        self,
        job: Job[Any],
        *,
        location: str | None = None,
        retry_after: int = 1,
        headers: Mapping[str, str] | None = None,
        background: AnyBackgroundTask | None = None,
    ) -> None:
        check_number("retry_after", retry_after, 0, 24 * 3600, whole=True)
        self.job = job
        self._location = location
        self._retry_after = retry_after
        super().__init__(self._content, 202, headers, background=background)

    @property
    def _content(self) -> dict[str, str]:
        return {"id": self.job.id, "state": self.job.state}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the jobs of the request, then send the response."""
        outbox: Outbox | None = scope.get("afterword.request.outbox")
        if outbox is not None:
            await outbox.store()
        self.body = self.render(self._content)
        self.headers["Content-Length"] = str(len(self.body))
        self.headers["Retry-After"] = "0" if self.job.state.final else str(self._retry_after)
        location = self._location or _place(scope) if self.job.durable else None
        if location is not None:
            location = location.replace("{id}", self.job.id)
            self.headers["Location"] = quote(location, safe=_IN_URLS)
        await super().__call__(scope, receive, send)


_IN_URLS = ":/%#?=@[]!$&'()*+,;~"  # characters that are not quoted, as in Starlette's redirects


def _place(scope: Scope) -> str | None:
    """Return the path of a job's status, with `{id}`; None if the jobs router is not included.

    The innermost application comes first, because each mounted one may have jobs of its own.
    """
    outer, top = scope["router"], scope.get("app_root_path", scope["root_path"])
    inner = scope["app"].router
    for router, root in ((inner, top if inner is outer else scope["root_path"]), (outer, top)):
        with contextlib.suppress(NoMatchFound):
            return str(root).rstrip("/") + str(router.url_path_for(JOB_ROUTE, job_id="{id}"))
    return None


if TYPE_CHECKING:
    from afterword.request.background import BackgroundTasks
else:
    _knows_scopes = "scope" in inspect.signature(Depends).parameters  # since 0.121
    BackgroundTasks = Annotated[
        background.BackgroundTasks, Depends(provide if _knows_scopes else provide_before_0_121)
    ]
