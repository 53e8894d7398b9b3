"""dishka in tasks: a third framework, through the same interface."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from dishka import (
    AsyncContainer,
    Container,
    FromComponent,
    FromDishka,
    Provider,
    Scope,
    from_context,
    make_async_container,
    make_container,
    provide,
)
from dishka.exceptions import ExitError
from dishka.integrations.fastapi import inject, setup_dishka
from fastapi import Depends, FastAPI
from starlette.applications import Starlette

from afterword import Progress, TaskContext
from afterword.client.handle import ProgressRecord
from afterword.errors import InjectedArgumentError, InjectionError
from afterword.injection.injectors import injection_of
from afterword.injection.injectors.dishka import DishkaInjector
from afterword.injection.needs import NOTHING, Injection
from tests.injection.attempts import attempt, run, stored
from tests.injection.depending import Context, both_kinds
from tests.injection.working import add, working

log: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    log.clear()


class Greeter:
    """An object of the application."""

    def greet(self, name: str) -> str:
        return f"Hello {name}"


class Session:
    """An object of the request or the attempt."""


class Client:
    """An object of the request or the attempt, from an `async` factory."""


class Missing:
    """An object that cannot be made."""


class Fragile:
    """An object whose teardown fails."""


class Audit:
    """An object that knows its attempt."""

    def __init__(self, context: Context) -> None:
        self.context = context


class Services(Provider):
    """A provider for both kinds of containers."""

    context = from_context(Context, scope=Scope.REQUEST)
    greeter = provide(Greeter, scope=Scope.APP)
    audit = provide(Audit, scope=Scope.REQUEST)

    @provide(scope=Scope.REQUEST)
    def session(self) -> Generator[Session, BaseException | None, None]:
        log.append("open")
        error = yield Session()
        log.append(f"rollback: {error!r}" if error else "commit")

    @provide(scope=Scope.REQUEST)
    def missing(self, session: Session) -> Missing:
        raise ConnectionError("no server")

    @provide(scope=Scope.REQUEST)
    def fragile(self) -> Iterator[Fragile]:
        yield Fragile()
        raise OSError("cannot be closed")

    @provide(scope=Scope.REQUEST)
    def text(self) -> Iterator[str]:
        yield "text"
        raise LookupError("neither")


class AsyncServices(Provider):
    """A provider for asynchronous containers only."""

    @provide(scope=Scope.REQUEST)
    async def client(self, session: Session) -> AsyncIterator[Client]:
        log.append("connect")
        yield Client()
        log.append("disconnect")


class Named(Provider):
    """A provider of the same type in another component."""

    component = "named"

    @provide(scope=Scope.APP)
    def greeter(self) -> Greeter:
        return Greeter()


@pytest.fixture
def container() -> AsyncContainer:
    return make_async_container(Services(), AsyncServices(), Named())


@pytest.fixture
def sync_container() -> Container:
    return make_container(Services(), Named())


@pytest.fixture(params=["async", "sync"])
def injection(
    request: pytest.FixtureRequest,
    app: FastAPI,
    container: AsyncContainer,
    sync_container: Container,
) -> Injection:
    """The injection of an application, with each kind of container."""
    setup_dishka(container if request.param == "async" else sync_container, app)
    return injection_of(app, builtin_types=[Context])


def send(user_id: int, greeter: FromDishka[Greeter]) -> str:
    return greeter.greet(str(user_id))


@inject
async def decorated(user_id: int, greeter: FromDishka[Greeter]) -> str:
    return greeter.greet(str(user_id))


def test_what_is_annotated_is_injected(injection: Injection) -> None:
    for func in both_kinds(send):
        assert "Hello 1" == attempt(injection, func, 1)


def test_a_component(injection: Injection) -> None:
    def task(plain: FromDishka[Greeter], named: Annotated[Greeter, FromComponent("named")]) -> bool:
        return plain is named

    assert not attempt(injection, task)


def test_dishkas_own_wrapper_is_taken_off(injection: Injection) -> None:
    assert "decorated" == injection.unwrap(decorated).__name__
    assert injection.unwrap(decorated) is not decorated
    assert "Hello 1" == attempt(injection, decorated, 1)


def test_a_value_for_an_injected_parameter_is_refused(injection: Injection) -> None:
    with pytest.raises(InjectedArgumentError, match="greeter"):
        stored(injection, send, 1, Greeter())


def test_functions_without_injected_parameters_need_nothing(injection: Injection) -> None:

    def task(x: int) -> None: ...

    assert injection.of(task) is NOTHING


def test_a_failed_attempt_rolls_back_and_the_next_has_a_fresh_scope(
    injection: Injection,
) -> None:
    met: list[Any] = []

    def task(greeter: FromDishka[Greeter], session: FromDishka[Session]) -> None:
        met.append((greeter, session))
        if len(met) == 1:
            raise ValueError("of the task")

    for func in both_kinds(task):
        met.clear()
        log.clear()
        text = stored(injection, func)
        with pytest.raises(ValueError, match="of the task"):
            run(injection, func, text, {})
        run(injection, func, text, {})

        assert ["open", "rollback: ValueError('of the task')", "open", "commit"] == log
        assert met[0][0] is met[1][0]
        assert met[0][1] is not met[1][1]


def test_a_teardown_that_fails_fails_the_attempt(injection: Injection) -> None:
    """The error is the exception itself, if there is only one."""

    def one(fragile: FromDishka[Fragile]) -> None: ...

    def two(fragile: FromDishka[Fragile], text: FromDishka[str]) -> None: ...

    for func in both_kinds(one):
        with pytest.raises(OSError, match="cannot be closed"):
            attempt(injection, func)
    for func in both_kinds(two):
        with pytest.raises(ExitError):
            attempt(injection, func)


def test_the_exception_of_the_body_wins(injection: Injection) -> None:

    def task(fragile: FromDishka[Fragile], text: FromDishka[str]) -> None:
        raise ValueError("of the task")

    for func in both_kinds(task):
        with pytest.raises(ValueError, match="of the task") as raised:
            attempt(injection, func)
        assert [
            "The teardown that followed raised LookupError: neither; OSError: cannot be closed"
        ] == raised.value.__notes__


def test_what_is_open_is_closed_when_a_factory_fails(injection: Injection) -> None:

    def task(missing: FromDishka[Missing]) -> None: ...

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(ConnectionError, match="no server"):
            attempt(injection, func)
        assert ["open", "rollback: ConnectionError('no server')"] == log


def test_a_factory_takes_what_the_worker_provides(injection: Injection) -> None:
    def task(audit: FromDishka[Audit], context: Context) -> bool:
        return audit.context is context

    for func in both_kinds(task):
        assert attempt(injection, func, provided={Context: Context()})


def test_the_thread_in_which_a_def_task_runs(
    container: AsyncContainer, sync_container: Container
) -> None:

    def task(session: FromDishka[Session]) -> None: ...

    assert injection_of(None, [DishkaInjector(sync_container)]).of(task).all_sync
    assert not injection_of(None, [DishkaInjector(container)]).of(task).all_sync


def test_an_async_factory(container: AsyncContainer) -> None:
    def task(client: FromDishka[Client]) -> None: ...

    injection = injection_of(None, [DishkaInjector(container)])
    for func in both_kinds(task):
        log.clear()
        attempt(injection, func)
        assert ["open", "connect", "disconnect", "commit"] == log


def test_with_depends_in_one_task(injection: Injection) -> None:
    def get() -> str:
        return "got"

    def task(greeter: FromDishka[Greeter], got: Annotated[str, Depends(get)]) -> str:
        return greeter.greet(got)

    assert "Hello got" == attempt(injection, task)


def test_an_unknown_type_is_refused(injection: Injection) -> None:

    class Unknown: ...

    def task(unknown: FromDishka[Unknown]) -> None: ...

    with pytest.raises(InjectionError, match=r"'unknown' needs .*Unknown.*no provider"):
        injection.of(task)


@pytest.mark.parametrize("app", [Starlette(), FastAPI()])
def test_without_a_container_the_task_is_refused(app: Starlette) -> None:
    with pytest.raises(InjectionError, match=r"needs a dishka container for greeter.*setup_dishka"):
        stored(injection_of(app), send, 1)


def test_a_script_without_an_application_adds_jobs_but_runs_none() -> None:
    injection = injection_of(None)

    assert '{"user_id":1}' == stored(injection, send, 1)
    with pytest.raises(InjectionError, match="no application with one"):
        attempt(injection, send, 1)


def test_an_asynchronous_container_stays_in_the_loop(container: AsyncContainer) -> None:
    bound = DishkaInjector(container).bind(send)

    assert bound is not None
    with pytest.raises(InjectionError, match="can be used in a thread"):
        bound.sync_scope({})


def test_what_has_no_signature_is_not_dishkas() -> None:
    func: Callable[..., Any] = print

    assert DishkaInjector().bind(func) is None


class OfTask(Provider):
    """A service that knows the attempt."""

    context = from_context(TaskContext, scope=Scope.REQUEST)
    progress = from_context(Progress, scope=Scope.REQUEST)

    @provide(scope=Scope.REQUEST)
    def job_id(self, context: TaskContext, progress: Progress) -> Iterator[list[str]]:
        progress.update(1, total=2)
        yield [context.job_id]
        log.append("left")


async def with_service(job_id: FromDishka[list[str]], greeter: FromDishka[Greeter]) -> list[str]:
    return [*job_id, greeter.greet("World")]


@pytest.mark.anyio
async def test_at_work(tmp_path: Path) -> None:
    """The container comes from `setup_dishka`, or is given."""
    container = make_async_container(Services(), OfTask(), AsyncServices())
    app = FastAPI()
    setup_dishka(container, app)
    ways: list[dict[str, Any]] = [{}, {"injectors": [DishkaInjector(container)]}]
    for options in ways:
        async with working(tmp_path, FastAPI() if options else app, **options) as afterword:
            job = await (await add(afterword, with_service)).wait(60)

        assert [job.id, "Hello World"] == job.result
        assert ProgressRecord(1, 2) == job.progress
    assert ["left", "left"] == log
