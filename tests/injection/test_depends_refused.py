"""Dependencies that a worker can never have: refused in `add_task`, with the way out."""

from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import (
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    Path,
    Query,
    Response,
    Security,
    UploadFile,
    WebSocket,
)
from fastapi.security import APIKeyHeader, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, Field

from afterword.errors import InjectionError
from afterword.injection.needs import Injection
from tests.compatibility.versions import HAS_FUNCTION_SCOPE
from tests.injection.attempts import attempt, stored


class Filters(BaseModel):
    """A query model with defaults only."""

    page: int = 1


class Required(BaseModel):
    """A query model with a required field."""

    page: int


oauth2 = OAuth2PasswordBearer(tokenUrl="token")


def user(token: Annotated[str, Depends(oauth2)]) -> str:
    return token


def scoped(scopes: SecurityScopes) -> None: ...


def by_path(x: Annotated[int, Path()]) -> None: ...


def by_query(x: int) -> None: ...


def by_explicit_query(x: int = Query()) -> None: ...


def by_ellipsis(x: Annotated[int, Query(ge=1)] = ...) -> None: ...


def by_header(user_agent: Annotated[str, Header()]) -> None: ...


def by_cookie(session: Annotated[str, Cookie()]) -> None: ...


def by_body(item: Required) -> None: ...


def by_explicit_body(item: Annotated[Required, Body()]) -> None: ...


def by_form(name: Annotated[str, Form()]) -> None: ...


def by_file(data: Annotated[bytes, File()]) -> None: ...


def by_upload(file: UploadFile) -> None: ...


def by_query_model(filters: Annotated[Required, Query()]) -> None: ...


def by_websocket(websocket: WebSocket) -> None: ...


def by_response(response: Response) -> None: ...


def by_response_with_default(response: Response = None) -> None: ...  # type: ignore[assignment]


def by_tasks(tasks: fastapi.BackgroundTasks) -> None: ...


def by_anything(*args: Any, **kwargs: Any) -> None: ...


REFUSED = [
    (user, r"task\(value\) → user\(token\) is a security scheme .*Authenticate in the route, and"),
    (oauth2, r"task\(value\) is a security scheme \(OAuth2PasswordBearer\)"),
    (HTTPBearer(), r"is a security scheme \(HTTPBearer\)"),
    (APIKeyHeader(name="key"), r"is a security scheme \(APIKeyHeader\)"),
    (scoped, r"scoped\(scopes\) is a part of a security scheme"),
    (by_path, r"by_path\(x\) is a required part of the request \(of the path\)\. Take it in the"),
    (by_query, r"by_query\(x\) is a required part of the request \(of the query or the body\)"),
    (by_explicit_query, r"\(of the query\)"),
    (by_ellipsis, r"\(of the query\)"),
    (by_header, r"by_header\(user_agent\) is a required part of the request \(of the headers\)"),
    (by_cookie, r"\(of the cookies\)"),
    (by_body, r"\(of the query or the body\)"),
    (by_explicit_body, r"\(of the body\)"),
    (by_form, r"\(of the form\)"),
    (by_file, r"\(of a file\)"),
    (by_upload, r"required part of the request"),
    (by_query_model, r"\(of the query\)"),
    (by_websocket, r"by_websocket\(websocket\) is the connection of a client"),
    (by_response, r"by_response\(response\) is the response, which has been sent\. Set headers"),
    (by_response_with_default, r"is the response, which has been sent"),
    (by_tasks, r"FastAPI's own BackgroundTasks.*Take `afterword\.fastapi\.BackgroundTasks`"),
    (by_anything, r"by_anything\(args\) is a required part"),
]


@pytest.mark.parametrize(("dependency", "message"), REFUSED)
def test_a_dependency_that_needs_a_request_is_refused(
    injection: Injection, dependency: Callable[..., Any], message: str
) -> None:

    def task(x: int, value: Annotated[Any, Depends(dependency)]) -> None: ...

    with pytest.raises(InjectionError, match=message) as raised:
        stored(injection, task, 1)
    assert "task cannot run in a worker, where there is no request: " in str(raised.value)


def test_security_with_scopes_is_refused(injection: Injection) -> None:

    def current() -> str:
        return "me"

    def task(value: Annotated[Any, Security(current, scopes=["items"])]) -> None: ...

    with pytest.raises(InjectionError, match=r"is a security scheme .*current"):
        injection.of(task)


def test_a_refusal_is_found_again_by_a_check(injection: Injection) -> None:

    def task(value: Annotated[Any, Depends(user)]) -> None: ...

    refused = injection.refusals({"task": task, "by_query": by_query})

    assert ["task"] == list(refused)


def test_a_circle_is_refused(injection: Injection) -> None:
    def first(value: Any) -> None: ...

    def second(value: Annotated[Any, Depends(first)]) -> None: ...

    first.__annotations__["value"] = Annotated[Any, Depends(second)]

    def task(value: Annotated[Any, Depends(first)]) -> None: ...

    with pytest.raises(InjectionError, match=r"is .*first again.*Break the cycle"):
        injection.of(task)


def test_a_query_model_of_defaults_is_made_of_nothing(injection: Injection) -> None:

    def get(filters: Annotated[Filters, Query()]) -> int:
        return filters.page

    def task(page: Annotated[int, Depends(get)]) -> int:
        return page

    assert 1 == attempt(injection, task)


def test_a_default_that_is_made_of_the_rest_of_the_request_is_none(injection: Injection) -> None:
    def get(x: int = Field(default_factory=lambda data: data["y"])) -> int:
        return x

    def task(value: Annotated[int, Depends(get)]) -> None: ...

    with pytest.raises(InjectionError, match="required part of the request"):
        injection.of(task)


@pytest.mark.skipif(not HAS_FUNCTION_SCOPE, reason="Depends is no dataclass here")
def test_a_limit_that_only_routes_can_keep_is_refused(injection: Injection) -> None:
    marker = Depends(by_query_default)
    object.__setattr__(marker, "max_concurrency", 1)
    if hasattr(marker, "_concurrency"):
        object.__setattr__(marker, "_concurrency", None)

    def task(value: Annotated[Any, marker]) -> None: ...

    with pytest.raises(InjectionError, match="limited by max_concurrency"):
        injection.of(task)


def by_query_default(x: int = 1) -> int:
    return x


def test_what_a_route_refuses_is_none_of_ours(app: FastAPI, injection: Injection) -> None:
    """The task's own parameters are arguments, of any type."""

    def task(response: Response, x: int = 1) -> None: ...

    assert not injection.of(task)
