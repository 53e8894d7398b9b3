"""Wireup in tasks: its markers, its `WireupTask`, its `inject`, its containers."""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
import wireup
import wireup.integration.fastapi
import wireup.integration.starlette
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from wireup import Inject, Injected, inject_from_container
from wireup.errors import ContainerCloseError, WireupError
from wireup.integration.fastapi import WireupRoute, WireupTask, inject

import afterword.wireup
from afterword import Progress
from afterword.errors import InjectedArgumentError, InjectionError, NotInTask
from afterword.injection.injectors import injection_of
from afterword.injection.injectors.wireup import WireupInjector
from afterword.injection.needs import NOTHING, Injection
from afterword.store.protocol import Claim
from afterword.tasks.registry import reference
from afterword.worker.context import TaskContext
from afterword.worker.services import WorkerServices
from tests.injection import services
from tests.injection.attempts import attempt, attempt_in_loop, run, stored
from tests.injection.depending import both_kinds
from tests.injection.services import (
    Audit,
    Client,
    Fleeting,
    Fragile,
    Greeter,
    Missing,
    Session,
    Swallowed,
    Transient,
    log,
)


@pytest.fixture(autouse=True)
def _forget() -> None:
    log.clear()


@pytest.fixture
def container() -> wireup.AsyncContainer:
    return wireup.create_async_container(
        injectables=[services, afterword.wireup, wireup.integration.fastapi],
        config={"name": "the configured name"},
    )


@pytest.fixture
def sync_container() -> wireup.SyncContainer:
    synchronous = [Greeter, services.session, Transient]
    return wireup.create_sync_container(injectables=synchronous, config={"name": "it"})


@pytest.fixture
def app(container: wireup.AsyncContainer) -> FastAPI:
    app = FastAPI()
    wireup.integration.fastapi.setup(container, app)
    return app


def send(user_id: int, greeter: Injected[Greeter]) -> str:
    return greeter.greet(str(user_id))


def hand_over(session: Injected[Session]) -> Session:
    return session


@inject
async def decorated(user_id: int, greeter: Injected[Greeter]) -> str:
    return greeter.greet(str(user_id))


@inject
def helper(session: Injected[Session]) -> Session:
    return session


# ---------------------------------------------------------------------- whose function it is


def test_all_forms_of_a_task_are_one_function(
    container: wireup.AsyncContainer, injection: Injection
) -> None:
    """The forms are those of Wireup's documentation, plain and doubled."""
    wireup_task = WireupTask(container)
    forms = [
        send,
        wireup_task(send),
        wireup_task(wireup_task(send)),
        inject_from_container(container)(send),
        inject(send),
    ]

    assert [send] * 5 == [injection.unwrap(form) for form in forms]
    assert {reference(send)} == {reference(injection.unwrap(form)) for form in forms}


def test_a_decorator_of_the_users_stays(
    container: wireup.AsyncContainer, injection: Injection
) -> None:
    """It may be around Wireup's, whose attributes it copies."""

    def deco(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return f"decorated {func(*args, **kwargs)}"

        return wrapper

    inside, outside = deco(send), deco(WireupTask(container)(send))

    assert inside is injection.unwrap(WireupTask(container)(inside))
    assert outside is injection.unwrap(outside)
    assert "decorated Hello 1" == attempt(injection, inside, 1)


def test_functions_without_injected_parameters_need_nothing(injection: Injection) -> None:

    def other(x: int) -> None: ...

    assert injection.of(other) is NOTHING


# ---------------------------------------------------------------------- what is injected


def test_every_marker(injection: Injection) -> None:
    def task(
        x: int,
        greeter: Injected[Greeter],
        name: Annotated[str, Inject(config="name")],
        text: Annotated[str, Inject(expr="<${name}>")],
        maybe: "Annotated[Greeter, Inject()]",
    ) -> Any:
        return x, greeter is maybe, name, text

    for func in both_kinds(task):
        assert (1, True, "the configured name", "<the configured name>") == attempt(
            injection, func, 1
        )


def test_a_type_that_may_be_missing() -> None:
    @wireup.injectable
    def cache() -> Session | None:
        return None

    @wireup.injectable(qualifier="main")
    def main() -> Greeter:
        return Greeter()

    def task(
        cache: Injected[Session | None], greeter: Annotated[Greeter, Inject(qualifier="main")]
    ) -> Any:
        return cache, greeter.greet("main")

    given = WireupInjector(wireup.create_async_container(injectables=[cache, main]))

    assert (None, "Hello main") == attempt(injection_of(None, [given]), task)


def test_a_value_for_an_injected_parameter_is_refused(injection: Injection) -> None:
    """Wireup itself would silently inject another value."""
    with pytest.raises(InjectedArgumentError, match=r"greeter.*add_task\(send, user_id\)"):
        stored(injection, send, 1, Greeter())
    with pytest.raises(InjectedArgumentError, match="greeter"):
        stored(injection, send, 1, greeter=Greeter())


def test_an_injected_parameter_may_come_first(injection: Injection) -> None:
    """Wireup itself raises a TypeError."""

    def first(greeter: Injected[Greeter], name: str) -> str:
        return greeter.greet(name)

    assert "Hello you" == attempt(injection, first, "you")


def test_singletons_are_shared_and_scopes_belong_to_one_attempt(
    app: FastAPI, injection: Injection
) -> None:
    """Singletons belong to the application; other objects are made for each attempt."""

    async def task(
        greeter: Injected[Greeter],
        session: Injected[Session],
        client: Injected[Client],
        one: Injected[Transient],
        other: Injected[Transient],
    ) -> Any:
        assert client.session is session
        assert one is not other
        return greeter, session

    @app.get("/")
    async def route(greeter: Injected[Greeter], session: Injected[Session]) -> None:
        of_route.extend((greeter, session))

    of_route: list[Any] = []
    with TestClient(app) as client:
        client.get("/")
        first, second = attempt(injection, task), attempt(injection, task)

    assert of_route[0] is first[0] is second[0]
    assert 3 == len({of_route[1], first[1], second[1]})


# ---------------------------------------------------------------------- setup and teardown


@pytest.mark.parametrize("kind", [0, 1], ids=["def", "async def"])
def test_a_scope_is_committed(injection: Injection, kind: int) -> None:
    def task(session: Injected[Session]) -> None:
        log.append("body")

    attempt(injection, both_kinds(task)[kind])

    assert ["open", "body", "commit", "close"] == log


@pytest.mark.parametrize("kind", [0, 1], ids=["def", "async def"])
def test_a_failed_attempt_rolls_back_and_the_next_has_a_fresh_scope(
    injection: Injection, kind: int
) -> None:
    """The exception reaches the factories, `async` ones included."""
    sessions = []

    def task(client: Injected[Client], session: Injected[Session]) -> None:
        sessions.append(session)
        if len(sessions) == 1:
            raise ValueError("of the task")

    func = both_kinds(task)[kind]
    text = stored(injection, func)
    with pytest.raises(ValueError, match="of the task"):
        run(injection, func, text, {})
    first = list(log)
    log.clear()
    run(injection, func, text, {})

    error = "ValueError('of the task')"
    ended = [f"abort: {error}", "disconnect", f"rollback: {error}", "close"]
    assert ["open", "connect", *ended] == first
    assert ["open", "connect", "disconnect", "commit", "close"] == log
    assert sessions[0] is not sessions[1]


def test_a_teardown_that_fails_fails_the_attempt(injection: Injection) -> None:
    """The error is the factory's own exception, not Wireup's group of one."""

    def task(fragile: Injected[Fragile]) -> None: ...

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(OSError, match="cannot be closed"):
            attempt(injection, func)
        assert "fragile" in log


def test_several_teardowns_that_fail_are_a_group(injection: Injection) -> None:

    def task(fragile: Injected[Fragile], fleeting: Injected[Fleeting]) -> None: ...

    for func in both_kinds(task):
        with pytest.raises(ContainerCloseError) as raised:
            attempt(injection, func)
        assert {OSError, LookupError} == {type(error) for error in raised.value.exceptions}


def test_a_factory_that_swallows_does_not_turn_failure_into_success(
    injection: Injection,
) -> None:

    def task(session: Injected[Session], swallowed: Injected[Swallowed]) -> None:
        raise ValueError("of the task")

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(ValueError, match="of the task"):
            attempt(injection, func)
        assert ["open", "swallowed", "rollback: ValueError('of the task')", "close"] == log


def test_the_exception_of_the_body_wins(injection: Injection) -> None:
    """Wireup itself replaces it."""

    def task(fleeting: Injected[Fleeting]) -> None:
        raise ValueError("of the task")

    for func in both_kinds(task):
        with pytest.raises(ValueError, match="of the task") as raised:
            attempt(injection, func)
        assert ["The teardown that followed raised LookupError: neither"] == raised.value.__notes__


def test_what_is_open_is_closed_when_a_factory_fails(injection: Injection) -> None:

    def task(missing: Injected[Missing]) -> None: ...

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(ConnectionError, match="no server"):
            attempt(injection, func)
        assert ["open", "rollback: ConnectionError('no server')", "close"] == log


# ---------------------------------------------------------------------- threads


def test_a_def_task_with_def_factories_stays_in_one_thread(injection: Injection) -> None:
    assert injection.of(hand_over).all_sync
    assert isinstance(attempt(injection, hand_over), Session)


def test_a_def_task_with_an_async_factory_runs_in_a_thread(injection: Injection) -> None:
    """Wireup itself raises."""

    def task(client: Injected[Client]) -> int:
        return threading.get_ident()

    assert not injection.of(task).all_sync
    assert threading.get_ident() != attempt(injection, task)


def test_an_async_task_has_its_def_factories_in_the_loop() -> None:
    """Wireup does the same."""

    @wireup.injectable(lifetime="scoped")
    def ident() -> int:
        return threading.get_ident()

    async def task(ident: Injected[int]) -> int:
        return ident

    given = WireupInjector(wireup.create_async_container(injectables=[ident]))

    assert threading.get_ident() == attempt(injection_of(None, [given]), task)


# ---------------------------------------------------------------------- containers


def test_the_container_of_a_starlette_application(container: wireup.AsyncContainer) -> None:
    app = Starlette()
    injection = injection_of(app)
    wireup.integration.starlette.setup(container, app)

    assert "Hello 1" == attempt(injection, send, 1)


def test_a_container_that_is_given(container: wireup.AsyncContainer) -> None:
    injection = injection_of(Starlette(), [WireupInjector(container)])

    assert "Hello 1" == attempt(injection, send, 1)


def test_without_a_container_the_task_is_refused() -> None:
    with pytest.raises(InjectionError, match=r"needs a Wireup container for greeter.*setup\("):
        stored(injection_of(Starlette()), send, 1)


def test_a_script_without_an_application_adds_jobs_but_runs_none() -> None:
    injection = injection_of(None)

    assert '{"user_id":1}' == stored(injection, send, 1)
    with pytest.raises(InjectionError, match="no application with one"):
        attempt(injection, send, 1)


def test_a_synchronous_container(sync_container: wireup.SyncContainer) -> None:
    injection = injection_of(None, [WireupInjector(sync_container)])

    def task(session: Injected[Session], name: Annotated[str, Inject(config="name")]) -> str:
        log.append("body")
        return name

    for func in both_kinds(task):
        log.clear()
        assert "it" == attempt(injection, func)
        assert ["open", "body", "commit", "close"] == log


def test_a_container_that_is_replaced(app: FastAPI, injection: Injection) -> None:
    """Tests may set up the same application again."""

    class Loud(Greeter):
        def greet(self, name: str) -> str:
            return name.upper()

    @wireup.injectable
    def loud() -> Greeter:
        return Loud()

    assert "Hello 1" == attempt(injection, send, 1)
    app.state.wireup_container = wireup.create_async_container(injectables=[loud])

    assert "1" == attempt(injection, send, 1)


def test_overrides_count_when_the_task_runs(
    container: wireup.AsyncContainer, injection: Injection
) -> None:
    replacement = Session()

    for func in both_kinds(hand_over):
        text = stored(injection, func)
        with container.override({Session: replacement}):
            assert replacement is run(injection, func, text, {})
        assert replacement is not run(injection, func, text, {})


# ---------------------------------------------------------------------- what is refused


def test_an_unknown_type_is_refused(injection: Injection) -> None:

    class Unknown: ...

    def task(unknown: Injected[Unknown]) -> None: ...

    with pytest.raises(InjectionError, match=r"task cannot run in a worker: .*'unknown'.*Unknown"):
        injection.of(task)


def test_an_unknown_configuration_is_refused(injection: Injection) -> None:

    def task(value: Annotated[str, Inject(config="nothing")]) -> None: ...

    with pytest.raises(InjectionError, match="nothing"):
        injection.of(task)


def test_an_async_factory_in_a_synchronous_container_is_refused() -> None:
    sync = wireup.create_sync_container(injectables=[services.session, services.client])

    def task(client: Injected[Client]) -> None: ...

    with pytest.raises(InjectionError, match="async factory"):
        injection_of(None, [WireupInjector(sync)]).of(task)


def test_a_positional_only_parameter_is_refused(injection: Injection) -> None:

    def task(greeter: Injected[Greeter], /) -> None: ...

    with pytest.raises(InjectionError, match="positional-only"):
        injection.of(task)


def test_a_parameter_injected_inside_of_depends_is_refused(injection: Injection) -> None:
    """In a route, neither FastAPI nor Wireup would notice it."""

    def get(greeter: Injected[Greeter]) -> None: ...

    def task(value: Annotated[None, Depends(get)]) -> None: ...

    with pytest.raises(InjectionError, match=r"get\(greeter\) is injected by Wireup, which"):
        injection.of(task)


def test_wireups_request_is_there_in_a_request_only(injection: Injection) -> None:
    """Wireup does the same."""

    def task(request: Injected[Request]) -> None: ...

    with pytest.raises(WireupError, match="only available during a request"):
        attempt(injection, task)


# ---------------------------------------------------------------------- Wireup's inject


def test_a_decorated_task_is_injected(injection: Injection) -> None:
    """It works without the middleware that it needs in a request."""
    assert "Hello 1" == attempt(injection, decorated, 1)


def test_a_decorated_function_that_the_task_calls_is_injected(injection: Injection) -> None:
    """It has the task's scope, in the loop, in a thread of the task, and in both."""

    def task(session: Injected[Session]) -> bool:
        return helper() is session

    def with_client(session: Injected[Session], client: Injected[Client]) -> bool:
        return helper() is session

    for func in (*both_kinds(task), *both_kinds(with_client)):
        assert attempt(injection, func)


def test_a_decorated_function_that_is_a_dependency_is_injected(injection: Injection) -> None:
    """This works even if the task uses nothing else of Wireup."""

    @inject
    def get(session: Injected[Session]) -> Session:
        return session

    @inject
    async def get_async(client: Injected[Client]) -> Client:
        return client

    def only(one: Annotated[Session, Depends(get)]) -> Any:
        return isinstance(one, Session)

    def both(one: Annotated[Session, Depends(get)], two: Injected[Session]) -> bool:
        return one is two

    def awaited(one: Annotated[Client, Depends(get_async)]) -> Any:
        return isinstance(one, Client)

    for task in (only, both, awaited):
        for func in both_kinds(task):
            log.clear()
            assert attempt(injection, func)
            assert ["commit", "close"] == log[-2:]
    assert injection.of(only).all_sync
    assert not injection.of(awaited).all_sync


def test_a_function_that_is_a_route_of_wireups_too(app: FastAPI, injection: Injection) -> None:
    """`WireupRoute` hides the parameters from FastAPI, and so from Afterword."""

    async def both(name: str, greeter: Injected[Greeter]) -> str:
        return greeter.greet(name)

    app.router.route_class = WireupRoute
    app.get("/")(both)
    with TestClient(app) as client:
        assert "Hello route" == client.get("/", params={"name": "route"}).json()

        assert "Hello task" == attempt(injection, both, "task")


def test_wireup_and_depends_in_one_task(injection: Injection) -> None:
    """The order is that of the parameters."""

    def get() -> Iterator[str]:
        log.append("enter")
        yield "got"
        log.append("leave")

    def wireup_first(session: Injected[Session], got: Annotated[str, Depends(get)]) -> None: ...

    def depends_first(got: Annotated[str, Depends(get)], session: Injected[Session]) -> None: ...

    for func in both_kinds(wireup_first):
        log.clear()
        attempt(injection, func)
        assert ["open", "enter", "leave", "commit", "close"] == log
    for func in both_kinds(depends_first):
        log.clear()
        attempt(injection, func)
        assert ["enter", "open", "commit", "close", "leave"] == log


# ---------------------------------------------------------------------- the task's own context


def _context() -> TaskContext:
    claim = Claim("the id", 1, "worker", "task", "{}", 0.0)
    return TaskContext(claim, WorkerServices(), 0.0)


def test_a_service_takes_the_context_of_the_attempt(injection: Injection) -> None:
    def task(audit: Injected[Audit], context: Injected[TaskContext]) -> Any:
        return audit.job_id, context

    context = _context()
    for func in both_kinds(task):
        provided: dict[type, Any] = {TaskContext: context, Progress: context.progress}
        assert ("the id", context) == attempt(injection, func, provided=provided)


def test_a_service_that_takes_the_context_is_for_tasks_only(app: FastAPI) -> None:
    @app.get("/")
    async def route(audit: Injected[Audit]) -> None: ...

    @app.get("/progress")
    async def other(progress: Injected[Progress]) -> None: ...

    wireup.integration.fastapi.setup(app.state.wireup_container, app)
    with TestClient(app) as client:
        for path, name in (("/", "TaskContext"), ("/progress", "Progress")):
            with pytest.raises(NotInTask, match=f"{name} only in a task"):
                client.get(path)


@pytest.mark.anyio
async def test_attempts_at_the_same_time_have_scopes_of_their_own(
    injection: Injection, anyio_backend: str
) -> None:
    async def task(session: Injected[Session]) -> bool:
        await asyncio.sleep(0.001)
        return helper() is session

    assert all(await asyncio.gather(*(attempt_in_loop(injection, task) for _ in range(20))))
