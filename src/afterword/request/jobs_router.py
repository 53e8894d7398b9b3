"""The status API, with which a client looks at its job and cancels it.

    GET    /jobs/{job_id}          the state: 200 for every known job
    GET    /jobs/{job_id}/result   the result: 200; 409 not yet; 410 never
    DELETE /jobs/{job_id}          cancel: 200 cancelled; 202 asked to end; 409 has ended

Errors are problem details (RFC 9457) with the job's state. A client never sees arguments, names of
functions, or a traceback (unless `show_errors="full"`).

The store is queried in a thread, so the event loop never waits for it.
"""

import asyncio
import functools
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, ParamSpec, get_args

from afterword.errors import ConfigurationError, MissingExtra, StoreUnavailable, safe_repr
from afterword.request.access import require_granted

try:
    from fastapi import APIRouter, Depends, Header, Path, Request, Response, params
except ImportError as error:
    raise MissingExtra("afterword.request.jobs_router", "fastapi") from error

from afterword.client.handle import CANCELLED
from afterword.client.inquiries import Inquiries
from afterword.fleets.asking import FleetInquiries
from afterword.model.audit import Actor, name_of_user
from afterword.model.checks import check_number
from afterword.model.job import JobRecord, JobState
from afterword.request.job_status import (
    UNAVAILABLE,
    UNKNOWN,
    JobProblem,
    JobStatus,
    ShowErrors,
    ended,
    not_ended,
    not_here,
    why_ended,
)
from afterword.tasks.results import shown_result

P = ParamSpec("P")

_USER = "afterword.user"  # in the scope: what `authorize` has returned to grant access
JOB_ROUTE = "afterword_job"  # the route's name, by which `Accepted` finds the URL of a job


# ---------------------------------------------------------------------- the answers

# A shared cache must not keep an answer; a client's own must revalidate it.
_CACHE = {"Cache-Control": "private, no-cache"}


class _Refused(Exception):
    """Raised to answer with a problem."""

    def __init__(self, problem: JobProblem, retry_after: int | None = None) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.retry_after = retry_after

    def response(self) -> Response:
        headers = dict(_CACHE)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Response(
            self.problem.model_dump_json(exclude_none=True),
            self.problem.status,
            headers,
            media_type="application/problem+json",
        )


def _refusing(
    endpoint: Callable[P, Awaitable[Response]],
) -> Callable[P, Awaitable[Response]]:
    """Answer the exceptions of an endpoint with problem details."""

    @functools.wraps(endpoint)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return await endpoint(*args, **kwargs)
        except _Refused as refused:
            return refused.response()
        except StoreUnavailable:
            return _Refused(UNAVAILABLE, retry_after=1).response()

    return answer


JobId = Annotated[str, Path(description="The job's id", json_schema_extra={"format": "uuid"})]
Tag = Annotated[str | None, Header(description="The ETag of an earlier answer")]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Endpoints:
    """The three routes."""

    def __init__(
        self,
        inquiries: Inquiries,
        show_errors: ShowErrors | None,
        retry_after: int,
        fleets: FleetInquiries | None,
    ) -> None:
        self._inquiries = inquiries
        self._fleets = fleets
        self._show_errors = show_errors
        self._retry_after = retry_after

    @_refusing
    async def status(self, job_id: JobId, if_none_match: Tag = None) -> Response:
        """The state of a job, its progress, and the error if it failed.

        Ask again after `Retry-After` seconds, with the `ETag` as `If-None-Match`. If nothing has
        changed, the answer is an empty 304.
        """
        record = await self._record(job_id)
        if self._fleets is not None and record.state is JobState.HANDED_OVER:
            record = await self._fleets.current(record, self._inquiries.function(record.task))
        answer = self._status(record, 200)
        tag = f'"{hashlib.blake2b(answer.body, digest_size=12).hexdigest()}"'
        if if_none_match and _names(if_none_match, tag):
            unchanged = {name: value for name, value in answer.headers.items() if name in _KEPT}
            return Response(status_code=304, headers={**unchanged, "ETag": tag})
        answer.headers["ETag"] = tag
        return answer

    @_refusing
    async def result(self, job_id: JobId) -> Response:
        """The value that a completed job has returned; null if it returned nothing.

        The answer is 409 with `Retry-After` if the job has not ended yet, and 410 if it failed,
        was cancelled or was handed over, because it will never have a result here.
        """
        record = await self._record(job_id)
        if not record.state.final:
            raise _Refused(not_ended(record.state), self._retry_after)
        problem = why_ended(record, self._show_errors) or not_here(record)
        if problem:
            raise _Refused(problem)
        shown = "null" if record.result is None else await self._shown(record, record.result)
        return Response(shown, headers=_CACHE, media_type="application/json")

    async def _shown(self, record: JobRecord, result: str) -> str:
        func = self._inquiries.function(record.task)
        return await asyncio.to_thread(shown_result, func, result)  # it may run code of the user

    @_refusing
    async def cancel(self, job_id: JobId, request: Request) -> Response:
        """Cancel a queued job at once (200), or ask a running job to end (202).

        A running job ends when its task heeds the request; its status shows when. The answer is
        409 if the job had already ended.
        """
        known = await self._record(job_id)
        users = (request.scope.get(_USER), request.scope.get("user"))
        by = Actor(name=next(filter(None, map(name_of_user, users)), ""), place="API")
        cancelled = await self._inquiries.cancel(known.id, CANCELLED, by)
        record = await self._record(job_id)
        if record.state.final and not (cancelled and record.state is JobState.CANCELLED):
            raise _Refused(ended(record.state))  # before the request, or meanwhile
        return self._status(record, 200 if record.state.final else 202)

    async def _record(self, job_id: str) -> JobRecord:
        text = job_id.lower()
        record = await self._inquiries.record(text) if _ID.fullmatch(text) else None
        if record is None:
            raise _Refused(UNKNOWN)
        return record

    def _status(self, record: JobRecord, status: int) -> Response:
        headers = dict(_CACHE)
        if not record.state.final:
            headers["Retry-After"] = str(self._retry_after)
        body = JobStatus.of(record, self._show_errors).model_dump_json()
        return Response(body, status, headers, media_type="application/json")


def _names(header: str, tag: str) -> bool:
    """True if an If-None-Match contains this tag."""
    tags = {each.strip().removeprefix("W/") for each in header.split(",")}
    return tag in tags or "*" in tags


_KEPT = {"cache-control", "retry-after"}  # headers of an answer that a 304 repeats


# ---------------------------------------------------------------------- the router


def jobs_router(
    inquiries: Inquiries,
    *,
    authorize: Callable[..., Any] | params.Depends | None,
    development: bool,
    prefix: str,
    tags: Sequence[str],
    show_errors: ShowErrors | None,
    retry_after: int,
    ask_fleets: bool,
    include_in_schema: bool,
) -> APIRouter:
    """Create the router; see `Afterword.jobs_router`."""
    check_number("retry_after", retry_after, 0, 24 * 3600, whole=True)
    _check_show_errors(show_errors)
    router = APIRouter(
        prefix=prefix,
        tags=[*tags],
        dependencies=_guards(authorize, development),
        include_in_schema=include_in_schema,
    )
    fleets = FleetInquiries() if ask_fleets else None
    _add_routes(router, _Endpoints(inquiries, show_errors, retry_after, fleets))
    return router


def _check_show_errors(value: object) -> None:
    if value is not None and value not in get_args(ShowErrors):
        raise ConfigurationError(
            f"show_errors must be one of {[*get_args(ShowErrors), None]}, but it is"
            f" {safe_repr(value)}."
        )


def _guards(authorize: object, development: bool) -> list[Any]:
    """The dependencies of all routes, which control access."""
    if authorize is None:
        if not development:
            raise ConfigurationError(_OPEN)
        return []
    if not isinstance(authorize, params.Depends):
        if not callable(authorize):
            raise ConfigurationError(
                "authorize must be a dependency (a function that raises HTTPException to refuse),"
                f" but it is {safe_repr(authorize)}."
            )
        authorize = Depends(authorize)

    async def allowed(request: Request, answer: Any = authorize) -> None:
        request.scope[_USER] = await require_granted(answer)

    return [Depends(allowed)]


_OPEN = (
    "jobs_router() without `authorize` is for development: anyone who can reach the application"
    " could read the results of jobs and cancel them. Give it a dependency that refuses unknown"
    " users:\n"
    "    app.include_router(afterword.jobs_router(authorize=current_user))\n"
    "For development, set the environment variable AFTERWORD_DEV=1, or use FastAPI(debug=True) and"
    " install the Afterword before this call."
)


def _add_routes(router: APIRouter, endpoints: _Endpoints) -> None:
    path = "/{job_id}"
    router.add_api_route(
        path,
        endpoints.status,
        name=JOB_ROUTE,
        operation_id="get_job",
        summary="Look at a job",
        response_model=JobStatus,
        response_description="The job exists, in any state",
        responses={
            200: {"headers": _HEADERS},
            304: {"description": "Nothing has changed", "headers": _HEADERS},
            **_problems(404, 503),
        },
    )
    router.add_api_route(
        f"{path}/result",
        endpoints.result,
        name=f"{JOB_ROUTE}_result",
        operation_id="get_job_result",
        summary="Fetch the result of a job",
        response_model=Any,
        response_description="What the task returned, as JSON",
        responses=_problems(404, 409, 410, 503),
    )
    router.add_api_route(
        path,
        endpoints.cancel,
        methods=["DELETE"],
        name=f"{JOB_ROUTE}_cancel",
        operation_id="cancel_job",
        summary="Cancel a job",
        response_model=JobStatus,
        response_description="The job is cancelled",
        responses={
            202: {"model": JobStatus, "description": "The job is running, and was asked to end"},
            **_problems(404, 409, 503),
        },
    )


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses
    }


_PROBLEM = {"$ref": f"#/components/schemas/{JobProblem.__name__}"}  # JobStatus takes it there
_HEADERS = {
    "ETag": {"description": "For If-None-Match", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to ask again; absent once the job has ended",
        "schema": {"type": "integer"},
    },
}
_DESCRIPTIONS = {
    404: "There is no such job (any more)",
    409: "Not possible in the job's present state",
    410: "The job failed, was cancelled or was handed over: it has no result here",
    503: "The jobs cannot be read now",
}
