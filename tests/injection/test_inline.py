"""Calls that run in their request instead of being stored: they get the same dependencies."""

import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header

from afterword import Afterword, JobState, Progress, TaskContext, current_task
from afterword.errors import ConfigurationError
from afterword.fastapi import BackgroundTask, BackgroundTasks
from afterword.pytest_plugin.run import PytestRun
from afterword.tasks.registry import reference
from tests.injection.hand_made import HandMade, Marker
from tests.sites import serving

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


def get_session() -> Iterator[str]:
    seen.append(("open", threading.get_ident()))
    try:
        yield "session"
    except BaseException as error:
        seen.append(("rollback", type(error).__name__))
        raise
    finally:
        seen.append(("close", threading.get_ident()))


async def get_client() -> AsyncIterator[str]:
    seen.append("connect")
    yield "client"
    seen.append("disconnect")


def by_agent(user_agent: Annotated[str, Header()]) -> str:
    return user_agent


Session = Annotated[str, Depends(get_session)]
Client = Annotated[str, Depends(get_client)]


def use_session(db: Session, number: int, *rest: int, text: str = "x") -> None:
    seen.append((db, number, rest, text, threading.get_ident()))


def use_client(client: Client, number: int) -> Any:
    seen.append((client, number))
    return later()


def use_session_and_return_a_coroutine(db: Session, number: int) -> Any:
    return later()


async def later() -> None:
    seen.append("awaited")


async def use_both(number: int, client: Client, given: Annotated[str, Marker()]) -> None:
    seen.append((client, given, number))


async def use_natives(
    number: int,
    context: TaskContext,
    progress: Progress,
    tasks: BackgroundTasks,
    afterword: Afterword,
) -> None:
    progress.update(1, total=2)
    assert current_task() is context
    assert context.progress is progress
    assert tasks is not None
    assert afterword.started == bool(started)
    context.logger.info("there")
    seen.append((number, context.attempt, context.job_id))
    context.add_task(child, "by the context")
    tasks.add_task(child, "by the tasks")
    with pytest.raises(
        ConfigurationError, match="complete_in works only in the worker's own process"
    ):
        context.complete_in(None)  # type: ignore[call-overload]


started: list[bool] = []


def child(name: str) -> None:
    seen.append(name)


def fail(db: Session, number: int) -> None:
    raise ValueError(number)


def by_request(value: Annotated[str, Depends(by_agent)]) -> None: ...


def site_of(folder: Path, *, durable: bool) -> Any:
    """Serve an application that is not started, or one whose calls cannot be stored."""
    app = FastAPI()

    @app.post("/{name}")
    async def add(name: str, tasks: BackgroundTasks) -> str:
        func: Callable[..., Any] = globals()[name]
        try:
            tasks.add_task(_without_name(func) if durable else func, 1)
        except TypeError as error:
            return str(error)
        return "added"

    @app.post("/by-hand/{name}")
    async def by_hand(name: str) -> None:
        await BackgroundTask(globals()[name], 1)()

    started[:] = [True] if durable else []
    injectors = [HandMade(name="mine")]
    return serving(app, folder, started=durable, injectors=injectors, raise_server_exceptions=False)


def _without_name(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as a closure, which has no name."""
    copied = types.FunctionType(func.__code__, func.__globals__, "copy", func.__defaults__)
    copied.__annotations__, copied.__kwdefaults__ = func.__annotations__, func.__kwdefaults__
    copied.__qualname__ = "copy.<locals>.copy"
    copied.__module__ = func.__module__
    return copied


@pytest.fixture(params=[True, False], ids=["no name", "not started"])
def durable(request: pytest.FixtureRequest) -> bool:
    """The reason why it runs in the request: True if it has no name."""
    return bool(request.param)


def test_a_def_task_with_def_dependencies_stays_in_one_thread(
    tmp_path: Path, durable: bool
) -> None:
    """Setup, body and teardown in one thread."""
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/use_session")

    (_, opened), (db, number, rest, text, called), (_, closed) = seen
    assert ("session", 1, (), "x") == (db, number, rest, text)
    assert opened == called == closed


def test_a_def_task_with_async_dependencies_runs_in_a_thread(tmp_path: Path, durable: bool) -> None:
    """A returned coroutine is awaited within the scope."""
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/use_client")

    assert ["connect", ("client", 1), "awaited", "disconnect"] == seen


def test_a_returned_coroutine_is_awaited_inside_of_the_scope(tmp_path: Path, durable: bool) -> None:
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/use_session_and_return_a_coroutine")

    assert ["open", "awaited", "close"] == [
        each[0] if isinstance(each, tuple) else each for each in seen
    ]


def test_several_injectors(tmp_path: Path, durable: bool) -> None:
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/use_both")

    assert ["connect", ("client", "given", 1), "disconnect"] == seen


def test_the_attempt_itself_is_there(tmp_path: Path, durable: bool) -> None:
    """Jobs that it adds become the request's: stored if possible, and run after it."""
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/use_natives")
        states = site.states()

    (number, attempt, job_id), *children = seen
    assert (1, 1, 36) == (number, attempt, len(job_id))
    assert ["by the context", "by the tasks"] == children
    assert [JobState.COMPLETED] * (2 if durable else 0) == states


def test_a_failing_one_rolls_back(tmp_path: Path, durable: bool) -> None:
    with site_of(tmp_path, durable=durable) as site:
        site.client.post("/fail")

    assert ["open", "rollback", "close"] == [each[0] for each in seen]


def test_what_can_never_be_injected_is_refused(tmp_path: Path, durable: bool) -> None:
    """`add_task` refuses it, as for a stored call."""
    with site_of(tmp_path, durable=durable) as site:
        answer = site.client.post("/by_request").json()

    assert "by_agent(user_agent)" in answer


def test_an_override_counts_in_the_request(tmp_path: Path, durable: bool) -> None:
    with site_of(tmp_path, durable=durable) as site:
        app: Any = site.client.app
        app.dependency_overrides[get_client] = lambda: "other"
        site.client.post("/use_both")

    assert [("other", "given", 1)] == seen


def test_who_calls_it_by_hand_gets_the_same(tmp_path: Path) -> None:
    with site_of(tmp_path, durable=False) as site:
        site.client.post("/by-hand/use_client")

    assert ["connect", ("client", 1), "awaited", "disconnect"] == seen


def test_who_waits_for_tasks_has_them_inside_of_an_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is how the pytest plugin does it."""
    (tmp_path / "stores").mkdir()
    monkeypatch.setattr(Afterword, "test_run", PytestRun(tmp_path / "stores"))
    app = FastAPI()

    @app.post("/")
    async def add(tasks: BackgroundTasks) -> None:
        tasks.add_task(use_client, number=1)  # type: ignore[call-overload]

    with serving(app, tmp_path) as site:
        app.dependency_overrides[get_client] = lambda: "other"
        site.client.post("/")
        app.dependency_overrides.clear()
        jobs = site.jobs()

    assert [("other", 1), "awaited"] == seen
    assert [JobState.COMPLETED] == [job.state for job in jobs]
    assert [reference(use_client)] == [job.task for job in jobs]
