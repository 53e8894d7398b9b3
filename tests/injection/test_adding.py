"""Calls of functions with injected parameters: the stored part, and refusals."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header
from pydantic import SecretStr

from afterword import Afterword, NotStorable, Progress, TaskContext, task
from afterword.client.call import Call
from afterword.errors import (
    ArgumentError,
    ConfigurationError,
    InjectedArgumentError,
    InjectionError,
)
from afterword.fastapi import BackgroundTasks
from afterword.injection.needs import NOTHING
from afterword.worker.executor import Targets
from tests.at_work import url_in
from tests.injection.hand_made import HandMade, Marker
from tests.sites import serving

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


@pytest.fixture
def afterword(tmp_path: Path) -> Afterword:
    """The Afterword of an application with its own injector."""
    return Afterword(FastAPI(), url_in(tmp_path), injectors=[HandMade(name="mine")])


def session() -> str:
    return "session"


def by_agent(user_agent: Annotated[str, Header()]) -> str:
    return user_agent


Session = Annotated[str, Depends(session)]
Given = Annotated[str, Marker()]


def injected(db: Session, number: int, given: Given, context: TaskContext, text: str = "x") -> None:
    seen.append((db, number, given, context.attempt, text))


def without_annotation(value, db: Session) -> None:  # type: ignore[no-untyped-def]
    """A task with a parameter without an annotation."""


def with_secret(secret: SecretStr, db: Session) -> None: ...


def by_request(value: Annotated[str, Depends(by_agent)]) -> None: ...


def plain(number: int) -> None: ...


def generator(db: Session) -> Any:
    yield db


def stored(afterword: Afterword, func: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """Return the arguments of a call as they would be stored."""
    job = afterword.new_job(Call(func, args, kwargs))
    return job.task.partition(":")[2], job.arguments


def test_what_is_injected_is_no_argument(afterword: Afterword) -> None:
    """The other parameters are bound without it, also by position."""
    assert ("injected", '{"number":1,"text":"y"}') == stored(afterword, injected, 1, "y")
    assert ("injected", '{"number":1}') == stored(afterword, injected, number=1)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        pytest.param((), {}, ArgumentError, "missing a required argument: 'number'", id="missing"),
        pytest.param((1, "y", 3), {}, ArgumentError, "too many positional", id="too-many"),
        pytest.param((1,), {"other": 1}, ArgumentError, "'other'", id="unknown"),
        pytest.param(("1",), {}, ArgumentError, "valid integer", id="wrong-type"),
        pytest.param(
            (1,), {"db": "mine"}, InjectedArgumentError, "value for db", id="value-for-depends"
        ),
        pytest.param(
            (1,), {"given": "mine"}, InjectedArgumentError, "value for given", id="value-for-wireup"
        ),
        pytest.param(
            (1,),
            {"context": 1},
            InjectedArgumentError,
            "value for context",
            id="value-for-the-context",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(
    afterword: Afterword,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: type[TypeError],
    message: str,
) -> None:
    """The route gets a TypeError."""
    with pytest.raises(error, match=message) as caught:
        stored(afterword, injected, *args, **kwargs)

    assert isinstance(caught.value, TypeError)


def test_wrong_arguments_raise_in_the_route_before_the_response(tmp_path: Path) -> None:
    app = FastAPI()

    @app.post("/")
    async def add(background_tasks: BackgroundTasks) -> str:
        try:
            background_tasks.add_task(injected)  # type: ignore[call-overload]
        except TypeError as error:
            return str(error)
        return "added"

    with serving(app, tmp_path, injectors=[HandMade()]) as site:
        answer = site.client.post("/").json()
        jobs = site.jobs()

    assert "missing a required argument: 'number'" in answer
    assert [] == jobs


def test_without_an_annotation_what_json_has(afterword: Afterword) -> None:
    assert '{"value":[1,"x",null]}' == stored(afterword, without_annotation, [1, "x", None])[1]
    with pytest.raises(NotStorable, match="'value' of without_annotation"):
        stored(afterword, without_annotation, {1, 2})


def test_what_json_would_change_is_refused(afterword: Afterword) -> None:
    with pytest.raises(NotStorable, match="secret"):
        stored(afterword, with_secret, SecretStr("s3cret"))


def test_what_can_never_be_injected_is_refused_with_the_way_out(afterword: Afterword) -> None:
    with pytest.raises(InjectionError) as caught:
        stored(afterword, by_request)

    assert "by_request(value) → by_agent(user_agent)" in str(caught.value)
    assert "pass it to the task as an argument" in str(caught.value)


def test_a_function_that_needs_nothing_has_nothing(afterword: Afterword) -> None:
    target = Targets(afterword.injection).find(f"{__name__}:plain")

    assert target.needs is NOTHING
    assert not target.needs.scoped


def test_a_function_is_bound_once_per_process(tmp_path: Path) -> None:
    """This serves the requests that add it, and the worker that runs it."""
    app, injector = FastAPI(), HandMade()

    @app.post("/")
    async def add(background_tasks: BackgroundTasks) -> None:
        for number in range(3):
            background_tasks.add_task(injected, number)  # type: ignore[call-overload]

    with serving(app, tmp_path, injectors=[injector]) as site:
        site.client.post("/")
        site.states()

    assert [("session", number, "given", 1, "x") for number in range(3)] == seen
    assert 1 == injector.asked.count(injected)


# ---------------------------------------------------------------------- callables


class Awaited:
    """An object with an `async def` call."""

    async def __call__(self, number: int, db: Session) -> None:
        await asyncio.sleep(0)
        seen.append((number, db))


def test_an_object_with_an_async_call_is_awaited(tmp_path: Path) -> None:
    """It has no name, so it runs in its request; a generator is refused."""
    app = FastAPI()
    refused: list[str] = []

    @app.post("/")
    async def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(Awaited(), 1)  # type: ignore[call-overload]
        try:
            background_tasks.add_task(generator)  # type: ignore[call-overload]
        except TypeError as error:
            refused.append(str(error))

    with serving(app, tmp_path) as site:
        site.client.post("/")

    assert [(1, "session")] == seen
    assert "generator function" in refused[0]


# ---------------------------------------------------------------------- child processes


@task(executor="process")
def in_process(number: int, context: TaskContext, progress: Progress) -> None: ...


def test_the_attempt_can_be_injected_in_a_process_of_its_own(afterword: Afterword) -> None:
    assert ("in_process", '{"number":1}') == stored(afterword, in_process, 1)


def with_session(number: int, db: Session) -> None: ...


def with_tasks(number: int, tasks: BackgroundTasks) -> None: ...


@pytest.mark.parametrize(("func", "name"), [(with_session, "db"), (with_tasks, "tasks")])
def test_nothing_else_can_be_injected_there(
    afterword: Afterword, func: Any, name: str, registry: None
) -> None:
    registered = task(func, executor="process")

    with pytest.raises(InjectionError) as caught:
        stored(afterword, registered, 1)

    assert f"parameter {name!r}" in str(caught.value)
    assert "only Progress and TaskContext can be injected" in str(caught.value)
    assert "without executor='process'" in str(caught.value)


# ---------------------------------------------------------------------- the option


@pytest.mark.parametrize("injectors", [HandMade(), [HandMade], "wireup", [object()]])
def test_what_is_no_injector_is_refused(tmp_path: Path, injectors: Any) -> None:
    with pytest.raises(ConfigurationError, match="injectors must be a list of injectors"):
        Afterword(FastAPI(), url_in(tmp_path), injectors=injectors)
