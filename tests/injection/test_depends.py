"""`Depends` in tasks: kinds of dependencies, numbers of calls, and overrides."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query, Request
from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from afterword.errors import InjectionError
from afterword.fastapi import BackgroundTasks
from afterword.injection.injectors import injection_of
from afterword.injection.needs import NOTHING, Injection
from afterword.request import background
from tests.compatibility.versions import HAS_FUNCTION_SCOPE
from tests.injection import postponed
from tests.injection.attempts import attempt, attempt_in_loop, run, stored
from tests.injection.depending import Context, Log, both_kinds

# ---------------------------------------------------------------------- what can be a dependency


def test_every_kind_of_callable(injection: Injection) -> None:
    class ByClass:
        def __init__(self, context: Context) -> None:
            self.context = context

    class Callables:
        def __call__(self) -> str:
            return "object"

        async def awaited(self) -> str:
            return "method"

    class AsyncCallable:
        async def __call__(self) -> str:
            return "async object"

    async def by_coroutine() -> str:
        return "coroutine"

    def by_partial(text: str) -> str:
        return text

    def task(
        by_class: Annotated[ByClass, Depends()],
        by_object: Annotated[str, Depends(Callables())],
        by_method: Annotated[str, Depends(Callables().awaited)],
        by_async_object: Annotated[str, Depends(AsyncCallable())],
        by_coroutine: Annotated[str, Depends(by_coroutine)],
        by_partial: Annotated[str, Depends(functools.partial(by_partial, "partial"))],
        by_default: str = Depends(by_coroutine),
    ) -> Any:
        return (
            *(by_class.context, by_object, by_method, by_async_object, by_coroutine),
            *(by_partial, by_default),
        )

    context = Context()
    for func in both_kinds(task):
        values = attempt(injection, func, provided={Context: context})
        assert (
            *(context, "object", "method", "async object", "coroutine"),
            *("partial", "coroutine"),
        ) == values


def test_a_wrapper_is_what_it_wraps(injection: Injection) -> None:
    """The user's decorator is `def`, around `async def` and around `yield`."""

    def decorated(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

        return wrapper

    @decorated
    async def awaited() -> str:
        return "awaited"

    @decorated
    def yielded() -> Iterator[str]:
        yield "yielded"

    async def task(a: Annotated[str, Depends(awaited)], b: Annotated[str, Depends(yielded)]) -> str:
        return f"{a}, {b}"

    assert "awaited, yielded" == attempt(injection, task)


def test_string_annotations(injection: Injection) -> None:
    assert "1, FastAPI" == attempt(injection, postponed.task, 1)


def test_a_task_without_depends_needs_nothing(injection: Injection) -> None:

    def task(x: int, request: Request | None = None) -> None: ...

    assert injection.of(task) is NOTHING


def test_arguments_and_dependencies_beside_each_other(injection: Injection) -> None:
    """FastAPI's usual style, with the dependency first or last."""

    def get() -> str:
        return "got"

    def task(
        session: Annotated[str, Depends(get)], x: int, y: int = 2, z: str = Depends(get)
    ) -> Any:
        return session, x, y, z

    for func in both_kinds(task):
        assert ("got", 1, 2, "got") == attempt(injection, func, 1)


def test_the_types_that_the_worker_provides(injection: Injection) -> None:
    """They work anywhere in the tree, also with `Depends` in the annotation."""

    def never() -> None:
        raise AssertionError("the worker provides it")

    def get(context: Context, again: Annotated[Context, Depends(never)]) -> bool:
        return context is again

    def task(same: Annotated[bool, Depends(get)]) -> bool:
        return same

    assert attempt(injection, task, provided={Context: Context()})


@pytest.mark.parametrize("builtin_types", [[background.BackgroundTasks, StarletteBackgroundTasks]])
def test_background_tasks_are_provided(app: FastAPI, builtin_types: list[type]) -> None:
    """The task gets ours; a dependency may ask for FastAPI's own."""
    import fastapi

    def get(ours: BackgroundTasks, theirs: fastapi.BackgroundTasks) -> object:
        return ours, theirs

    def task(both: Annotated[object, Depends(get)], ours: BackgroundTasks) -> object:
        return both, ours

    provided: dict[type, Any] = {
        background.BackgroundTasks: "ours",
        StarletteBackgroundTasks: "theirs",
    }

    assert (("ours", "theirs"), "ours") == attempt(
        injection_of(app, builtin_types=builtin_types), task, provided=provided
    )


def test_defaults_are_taken_where_a_request_would_be_asked(injection: Injection) -> None:

    def get(
        page: int = 1,
        size: int = Query(default=20, le=100),
        order: Annotated[str, Query()] = "asc",
        tags: Annotated[list[str], Query(default_factory=list)] = [],  # noqa: B006
    ) -> Any:
        tags.append("new")
        return page, size, order, tags

    def task(params: Annotated[object, Depends(get)]) -> object:
        return params

    for _ in range(2):
        assert (1, 20, "asc", ["new"]) == attempt(injection, task)


# ---------------------------------------------------------------------- caching, scopes, overrides


@dataclass
class Counter:
    """A dependency that counts its calls."""

    calls: int = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls

    __hash__ = object.__hash__


def test_a_dependency_is_called_once_per_attempt(injection: Injection) -> None:
    counter = Counter()

    def other(a: Annotated[int, Depends(counter)]) -> int:
        return a

    def task(
        a: Annotated[int, Depends(counter)],
        b: Annotated[int, Depends(other)],
        c: Annotated[int, Depends(counter)],
    ) -> Any:
        return a, b, c

    for func in both_kinds(task):
        counter.calls = 0
        assert (1, 1, 1) == attempt(injection, func)
        assert (2, 2, 2) == attempt(injection, func)


def test_a_dependency_without_the_cache_and_then_with_it(injection: Injection) -> None:
    """The first value is kept for any `use_cache`."""
    counter = Counter()

    def task(
        a: Annotated[int, Depends(counter, use_cache=False)],
        b: Annotated[int, Depends(counter)],
        c: Annotated[int, Depends(counter, use_cache=False)],
        d: Annotated[int, Depends(counter)],
    ) -> Any:
        return a, b, c, d

    assert (1, 1, 2, 1) == attempt(injection, task)


@pytest.mark.skipif(not HAS_FUNCTION_SCOPE, reason="this FastAPI has one scope only")
def test_both_scopes_last_as_long_as_the_attempt(injection: Injection, log: Log) -> None:
    options: dict[str, Any] = {"scope": "function"}

    def get() -> Iterator[int]:
        log.add("enter")
        yield 1
        log.add("leave")

    def task(
        a: Annotated[int, Depends(get, **options)],
        b: Annotated[int, Depends(get, scope="request")],
        c: Annotated[int, Depends(get)],
    ) -> None:
        log.add("body")

    for func in both_kinds(task):
        log.clear()
        attempt(injection, func)

        assert ["enter", "enter", "body", "leave", "leave"] == log


HAS_MAX_CONCURRENCY = hasattr(Depends(), "max_concurrency")


@pytest.mark.anyio
@pytest.mark.skipif(not HAS_MAX_CONCURRENCY, reason="this FastAPI has no max_concurrency")
@pytest.mark.parametrize("kind", ["returns", "yields", "awaited", "yields awaited"])
async def test_max_concurrency_holds_among_the_attempts_of_a_process(
    injection: Injection, kind: str, anyio_backend: str
) -> None:
    running, most = 0, 0

    def enter() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)

    def leave() -> None:
        nonlocal running
        running -= 1

    def returns() -> None:
        enter()
        time.sleep(0.001)
        leave()

    async def awaited() -> None:
        enter()
        await asyncio.sleep(0.001)
        leave()

    def yields() -> Iterator[None]:
        enter()
        yield
        leave()

    async def yields_awaited() -> AsyncIterator[None]:
        enter()
        yield
        leave()

    kinds: dict[str, Callable[..., Any]] = {
        "returns": returns,
        "awaited": awaited,
        "yields": yields,
        "yields awaited": yields_awaited,
    }
    limit: dict[str, Any] = {"max_concurrency": 2}

    def task(_: Annotated[None, Depends(kinds[kind], **limit)]) -> None:
        time.sleep(0.001)

    assert not injection.of(task).all_sync
    await asyncio.gather(*(attempt_in_loop(injection, task) for _ in range(10)))

    assert 2 == most
    assert 0 == running


def test_overrides_count_when_the_task_runs(app: FastAPI, injection: Injection) -> None:
    """Overrides apply in the whole tree, and may have dependencies."""

    def inner() -> str:
        return "inner"

    def outer(value: Annotated[str, Depends(inner)]) -> str:
        return f"outer of {value}"

    def replacement(context: Context) -> str:
        return type(context).__name__

    def task(value: Annotated[str, Depends(outer)]) -> str:
        return value

    for func in both_kinds(task):
        text = stored(injection, func)
        provided: dict[type, Any] = {Context: Context()}
        assert "outer of inner" == run(injection, func, text, provided)
        app.dependency_overrides[inner] = replacement
        assert "outer of Context" == run(injection, func, text, provided)
        app.dependency_overrides[outer] = lambda: "replaced"
        assert "replaced" == run(injection, func, text, provided)
        app.dependency_overrides.clear()
        assert "outer of inner" == run(injection, func, text, provided)


def test_an_override_may_be_async_where_the_dependency_is_not(
    app: FastAPI, injection: Injection
) -> None:

    def get() -> str:
        return "real"

    async def replacement() -> str:
        return "replaced"

    def task(value: Annotated[str, Depends(get)]) -> str:
        return value

    assert injection.of(task).all_sync
    app.dependency_overrides[get] = replacement

    assert not injection.of(task).all_sync
    assert "replaced" == attempt(injection, task)
    scope = injection.of(task).sync_scope({})
    with pytest.raises(InjectionError, match="overridden by an `async` one"):
        scope.__enter__()


def test_an_application_without_overrides(injection: Injection) -> None:
    """A Starlette application has none, and a script has no application."""

    def get() -> str:
        return "got"

    def task(value: Annotated[str, Depends(get)]) -> str:
        return value

    assert "got" == attempt(injection_of(None), task)
