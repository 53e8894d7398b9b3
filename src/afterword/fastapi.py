"""For FastAPI applications: change one import, keep the line.

    from afterword.fastapi import BackgroundTasks

    @app.post("/send-notification/{email}")
    async def send_notification(email: str, background_tasks: BackgroundTasks):
        background_tasks.add_task(write_notification, email, message="some notification")

FastAPI injects its own class for every subclass of Starlette's `BackgroundTasks`, so ours is none,
and the name is an alias for `Annotated[BackgroundTasks, Depends(provide)]`.

How `provide` knows whether the handler succeeded: it leaves a callback on the stack of contexts
that FastAPI unwinds with the request. If the handler raised, or the response did not validate, the
callback sees the exception before the error response starts; on success it is called later.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
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

from afterword.client.handle import Job
from afterword.model.checks import check_number
from afterword.request import background
from afterword.request.background import BackgroundTask
from afterword.request.job_status import AcceptedJob
from afterword.request.jobs_router import JOB_ROUTE
from afterword.request.outbox import Outbox

__all__ = ["Accepted", "BackgroundTask", "BackgroundTasks"]


async def provide(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> background.BackgroundTasks:
    """The request's BackgroundTasks, the same one for its handler and all its dependencies."""
    outbox = _outbox(connection, in_request)
    connection.scope["fastapi_inner_astack"].push(outbox.leave)
    return background.BackgroundTasks.of_request(outbox)


async def provide_before_0_121(
    connection: HTTPConnection, in_request: FastAPIBackgroundTasks
) -> AsyncIterator[background.BackgroundTasks]:
    """The same for releases that keep their stack to themselves: 100 µs slower per request.

    Before 0.118 dependencies are left before the response, and before FastAPI raises that the
    request was invalid, so that only the answer itself will show whether the handler failed.
    """
    outbox = _outbox(connection, in_request)
    try:
        yield background.BackgroundTasks.of_request(outbox)
    except BaseException as error:
        outbox.drop_if_failed(error)
        raise
    outbox.in_doubt = not outbox.answered


def _outbox(connection: HTTPConnection, in_request: FastAPIBackgroundTasks) -> Outbox:
    outbox: Outbox | None = connection.scope.get("afterword.request.outbox")
    if outbox is None:
        raise NotInstalled(
            "afterword.fastapi.BackgroundTasks needs Afterword in the application that serves the"
            " request. Add it once, beside the application:\n"
            "    app = FastAPI()\n"
            "    afterword = Afterword(app)"
        )
    if outbox.run_in_request is None:
        # What cannot be stored runs where FastAPI runs its own: after the body, dependencies open.
        outbox.run_in_request = in_request.add_task
    return outbox


class Accepted(JSONResponse):
    """The answer 202: a job does the work, and this is where to look at it.

    The body has the job's id and state, `Location` its place in `Afterword.jobs_router`. What the
    request has added is stored before the answer is written: only then is it certain which job it
    is, because a unique key may belong to one of another request.

    Args:
        job: what `add_task` returned.
        location: where it can be looked at, `{id}` standing for its id. Default: where the
            application has included the jobs router; no `Location` if it has not.
        retry_after: seconds after which the client may look for the first time. Default: 1.
        headers: more of them.
        background: tasks to be run after the answer.

    Raises:
        ConfigurationError: `retry_after` is no whole number from 0 to 86,400.

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
                    "description": "Where to look at the job",
                    "schema": {"type": "string", "format": "uri-reference"},
                },
                "Retry-After": {
                    "description": "Seconds after which to look",
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
        """Store what the request has added, then answer."""
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


_IN_URLS = ":/%#?=@[]!$&'()*+,;~"  # what stays as it is, as in Starlette's redirects


def _place(scope: Scope) -> str | None:
    """The path of a job's status, with `{id}`; None if nobody has included the jobs router.

    The innermost application comes first: each of several mounted ones may have jobs of its own.
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
