"""Parts of the request that dependencies of a task can use."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.requests import HTTPConnection

from afterword.errors import TaskRequestError
from afterword.injection.injectors.request import TaskRequest
from afterword.injection.needs import Injection
from tests.injection.attempts import attempt


def test_the_request_has_its_application_and_its_state(app: FastAPI, injection: Injection) -> None:

    def first(request: Request) -> str:
        request.state.user = "me"
        return str(request.state.pool)

    def second(connection: HTTPConnection, request: Request) -> Any:
        assert isinstance(request, TaskRequest)
        assert request is connection
        assert request.scope["app"] is request["app"] is app
        return request.app, request.state.user

    def task(pool: Annotated[str, Depends(first)], rest: Annotated[Any, Depends(second)]) -> Any:
        return pool, *rest

    assert ("the pool", app, "me") == attempt(injection, task)


def test_each_attempt_has_a_state_of_its_own(injection: Injection) -> None:

    def get(request: Request) -> Any:
        seen = getattr(request.state, "seen", 0)
        request.state.seen = seen + 1
        return seen

    def task(seen: Annotated[int, Depends(get)]) -> int:
        return seen

    assert [0, 0] == [attempt(injection, task) for _ in range(2)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda request: request.headers,
        lambda request: request.query_params,
        lambda request: request.client,
        lambda request: request.url_for("name"),
        lambda request: request.user,
        lambda request: request.json(),
        lambda request: request.scope["headers"],
        lambda request: request["path"],
    ],
)
def test_anything_else_of_it_raises(injection: Injection, ask: Callable[[Request], Any]) -> None:

    def get(request: Request) -> Any:
        return ask(request)

    def task(value: Annotated[Any, Depends(get)]) -> None: ...

    with pytest.raises(TaskRequestError, match=r"Take it in the route"):
        attempt(injection, task)


def test_what_no_request_has_is_no_attribute() -> None:
    request = TaskRequest(None, {})

    assert not hasattr(request, "nothing")
    assert {request: 1}[request]
    assert request != TaskRequest(None, {})
