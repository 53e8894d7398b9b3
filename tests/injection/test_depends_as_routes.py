"""A function as a route and as a task: FastAPI and Afterword give the same results."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from afterword import JobState
from afterword.fastapi import BackgroundTasks
from tests.compatibility.versions import FASTAPI, HAS_FUNCTION_SCOPE
from tests.sites import serving

log: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    log.clear()


class Failed(Exception):
    """An error of a body."""


def called(name: str) -> Callable[[], str]:
    """Note each call."""

    def dependency() -> str:
        log.append(name)
        return f"{name} {log.count(name)}"

    return dependency


def called_async(name: str) -> Callable[[], Any]:
    async def dependency() -> str:
        await asyncio.sleep(0)
        log.append(name)
        return f"{name} {log.count(name)}"

    return dependency


def entered(name: str) -> Callable[[], Iterator[str]]:
    """Note how it was left."""

    def dependency() -> Iterator[str]:
        log.append(f"enter {name}")
        try:
            yield f"{name} {log.count(f'enter {name}')}"
        except Exception as error:
            log.append(f"{type(error).__name__} in {name}")
            raise
        finally:
            log.append(f"leave {name}")

    return dependency


def entered_async(name: str) -> Callable[[], AsyncIterator[str]]:
    async def dependency() -> AsyncIterator[str]:
        log.append(f"enter {name}")
        try:
            yield f"{name} {log.count(f'enter {name}')}"
        except Exception as error:
            log.append(f"{type(error).__name__} in {name}")
            raise
        finally:
            log.append(f"leave {name}")

    return dependency


class Service:
    """A class that is a dependency, and has one."""

    def __init__(self, session: Annotated[str, Depends(called("service session"))]) -> None:
        self.session = session


class Callables:
    """Objects and their methods."""

    def __call__(self, value: Annotated[str, Depends(called("of object"))]) -> str:
        return f"object with {value}"

    async def method(self) -> str:
        return "method"


a, b, c, d = called("a"), called_async("b"), called("c"), called_async("d")
db, adb = entered("db"), entered_async("adb")


def uses_db(db: Annotated[str, Depends(db)]) -> Iterator[str]:
    log.append("enter uses_db")
    yield f"uses {db}"
    log.append("leave uses_db")


async def diamond_left(db: Annotated[str, Depends(uses_db)], a: Annotated[str, Depends(a)]) -> str:
    return f"left({db}, {a})"


def diamond_right(a: Annotated[str, Depends(a)], db: Annotated[str, Depends(adb)]) -> str:
    return f"right({a}, {db})"


def uncached(c: Annotated[str, Depends(c, use_cache=False)]) -> str:
    return f"uncached({c})"


def again(x: Annotated[str, Depends(uncached)], c: Annotated[str, Depends(c)]) -> str:
    return f"again({x}, {c})"


def state(request: Request) -> str:
    request.state.count = getattr(request.state, "count", 0) + 1
    return f"{type(request.app).__name__} {request.state.count}"


def defaults(page: int = 1, size: int | None = None, tags: list[str] = []) -> str:  # noqa: B006
    tags.append("x")
    return f"{page} {size} {tags}"


def simple(a: Annotated[str, Depends(a)], b: Annotated[str, Depends(b)]) -> Any:
    return [a, b]


def sessions(db: Annotated[str, Depends(db)], adb: Annotated[str, Depends(adb)]) -> Any:
    log.append("body")
    return [db, adb]


def failing(db: Annotated[str, Depends(db)], adb: Annotated[str, Depends(adb)]) -> Any:
    log.append("body")
    raise Failed(db + adb)


def diamond(
    left: Annotated[str, Depends(diamond_left)],
    right: Annotated[str, Depends(diamond_right)],
    a: Annotated[str, Depends(a)],
) -> Any:
    return [left, right, a]


def caching(
    one: Annotated[str, Depends(uncached)],
    two: Annotated[str, Depends(again)],
    three: Annotated[str, Depends(uncached)],
    four: Annotated[str, Depends(uncached, use_cache=False)],
    five: Annotated[str, Depends(c)],
) -> Any:
    return [one, two, three, four, five]


def classes(
    service: Annotated[Service, Depends()],
    other: Annotated[Service, Depends(Service)],
    by_object: Annotated[str, Depends(Callables())],
    by_method: Annotated[str, Depends(Callables().method)],
    by_partial: Annotated[str, Depends(functools.partial(defaults, size=5))],
    old: str = Depends(a),
) -> Any:
    return [service.session, service is other, by_object, by_method, by_partial, old]


def requests(
    one: Annotated[str, Depends(state)],
    two: Annotated[str, Depends(state, use_cache=False)],
    page: Annotated[str, Depends(defaults)],
) -> Any:
    return [one, two, page]


FUNCTION: dict[str, Any] = {"scope": "function"} if HAS_FUNCTION_SCOPE else {}


def scopes(
    one: Annotated[str, Depends(db)],
    two: Annotated[str, Depends(db, **FUNCTION)],
    three: Annotated[str, Depends(a)],
    four: Annotated[str, Depends(a, **FUNCTION)],
) -> Any:
    return [one, two, three, four]


def not_overridden(value: Annotated[str, Depends(b)]) -> str:
    return value


FUNCTIONS = [simple, sessions, failing, diamond, caching, classes, requests, scopes]


def _async(func: Callable[..., Any]) -> Callable[..., Any]:
    """Make the same as `async def`, at the top of this module, as stored tasks need it."""

    @functools.wraps(func)
    async def awaited(**values: Any) -> Any:
        return func(**values)

    awaited.__name__ = awaited.__qualname__ = f"{func.__name__}_async"
    return globals().setdefault(awaited.__name__, awaited)  # type: ignore[no-any-return]


def as_route(app: FastAPI, func: Callable[..., Any]) -> tuple[list[str], Any]:
    """Call it as a route; returns the log and the result."""
    log.clear()
    app.add_api_route("/as-route", func)
    with TestClient(app) as client:
        try:
            result = client.get("/as-route").json()
        except Failed as error:
            result = str(error)
    return list(log), result


def as_task(app: FastAPI, func: Callable[..., Any], folder: Path) -> tuple[list[str], Any]:
    """Run it as a stored job; returns the log and the result."""

    async def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(func)

    log.clear()
    app.add_api_route("/as-task", add)
    with serving(app, folder) as site:
        site.client.get("/as-task")
        (state,) = site.states()
        (job,) = site.jobs()
    if state is JobState.COMPLETED:
        return list(log), json.loads(job.result or "")
    return list(log), str(job.error).rpartition("Failed: ")[2]


@pytest.mark.parametrize("kind", [lambda func: func, _async], ids=["def", "async def"])
@pytest.mark.parametrize("func", FUNCTIONS, ids=lambda func: func.__name__)
def test_a_route_and_a_task_come_to_the_same(
    app: FastAPI,
    func: Callable[..., Any],
    kind: Callable[[Callable[..., Any]], Callable[..., Any]],
    tmp_path: Path,
) -> None:
    task = as_task(app, kind(func), tmp_path)

    assert as_route(app, kind(func)) == task


@pytest.mark.parametrize("func", FUNCTIONS, ids=lambda func: func.__name__)
def test_a_route_and_a_task_come_to_the_same_under_overrides(
    app: FastAPI, func: Callable[..., Any], tmp_path: Path
) -> None:

    async def other_a(d: Annotated[str, Depends(d)]) -> str:
        log.append("other a")
        return f"other a with {d}"

    app.dependency_overrides = {a: other_a, adb: entered("other adb"), uncached: not_overridden}
    task = as_task(app, func, tmp_path)

    assert as_route(app, func) == task


def test_the_oldest_and_the_newest_fastapi_are_both_meant() -> None:
    """`scripts/test-oldest` runs this module, too."""
    assert FASTAPI >= (0, 115)
