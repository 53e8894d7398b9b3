"""Dependencies that `yield`: sessions, locks, clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends

from afterword.injection.needs import Injection
from tests.injection.attempts import attempt
from tests.injection.depending import Log, both_kinds


class Session:
    """A session that notes its end."""


def get_session(log: Log, session: Session) -> Callable[[], Iterator[Session]]:
    def dependency() -> Iterator[Session]:
        log.add("open")
        try:
            yield session
        except Exception as error:
            log.add(f"rollback: {error}")
            raise
        else:
            log.add("commit")
        finally:
            log.add("close")

    return dependency


def get_async_session(log: Log, session: Session) -> Callable[[], AsyncIterator[Session]]:
    sync = asynccontextmanager(_as_async(get_session(log, session)))

    async def dependency() -> AsyncIterator[Session]:
        async with sync() as entered:
            yield entered

    return dependency


def _as_async(func: Callable[[], Iterator[Session]]) -> Callable[[], AsyncIterator[Session]]:
    from contextlib import contextmanager

    async def dependency() -> AsyncIterator[Session]:
        await asyncio.sleep(0)
        with contextmanager(func)() as session:
            yield session

    return dependency


KINDS = [get_session, get_async_session]


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_commits_when_the_task_has_succeeded(
    injection: Injection, log: Log, kind: Callable[..., Any]
) -> None:
    def task(session: Annotated[Session, Depends(kind(log, Session()))]) -> None:
        log.add("body")

    for func in both_kinds(task):
        log.clear()
        attempt(injection, func)

        assert ["open", "body", "commit", "close"] == log


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_rolls_back_when_the_task_has_failed(
    injection: Injection, log: Log, kind: Callable[..., Any]
) -> None:
    def task(session: Annotated[Session, Depends(kind(log, Session()))]) -> None:
        raise ValueError("of the task")

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(ValueError, match="of the task"):
            attempt(injection, func)

        assert ["open", "rollback: of the task", "close"] == log


@pytest.mark.parametrize("swallow", [True, False])
def test_a_dependency_that_swallows_does_not_turn_failure_into_success(
    injection: Injection, log: Log, swallow: bool
) -> None:
    """The outer ones get the task's own exception."""

    def outer() -> Iterator[None]:
        try:
            yield
        except ValueError:
            log.add("outer was told")

    def inner(_: Annotated[None, Depends(outer)]) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            if not swallow:
                raise RuntimeError("another") from error

    def task(_: Annotated[None, Depends(inner)]) -> None:
        raise ValueError("of the task")

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(ValueError, match="of the task") as raised:
            attempt(injection, func)

        notes = [] if swallow else ["The teardown that followed raised RuntimeError: another"]
        assert ["outer was told"] == log
        assert notes == getattr(raised.value, "__notes__", [])


def test_a_commit_that_fails_fails_the_attempt(injection: Injection, log: Log) -> None:

    def outer() -> Iterator[None]:
        try:
            yield
        except OSError:
            log.add("outer was told")
            raise

    def inner(_: Annotated[None, Depends(outer)]) -> Iterator[None]:
        yield
        raise OSError("no commit")

    def task(_: Annotated[None, Depends(inner)]) -> None: ...

    for func in both_kinds(task):
        log.clear()
        with pytest.raises(OSError, match="no commit"):
            attempt(injection, func)

        assert ["outer was told"] == log


def test_what_is_open_is_closed_when_the_setup_fails(injection: Injection, log: Log) -> None:
    session = get_session(log, Session())

    def failing(session: Annotated[Session, Depends(session)]) -> None:
        raise LookupError("no mailer")

    async def failing_async(session: Annotated[Session, Depends(session)]) -> None:
        raise LookupError("no mailer")

    for dependency in (failing, failing_async):

        def task(_: Annotated[None, Depends(dependency)]) -> None:
            raise AssertionError("never called")

        for func in both_kinds(task):
            log.clear()
            with pytest.raises(LookupError, match="no mailer"):
                attempt(injection, func)

            assert ["open", "rollback: no mailer", "close"] == log


def test_teardown_in_reverse_across_threads_and_the_loop(injection: Injection, log: Log) -> None:

    def dependency(name: str, *, is_async: bool) -> Callable[..., Any]:
        def sync() -> Iterator[None]:
            log.add(f"enter {name}")
            yield
            log.add(f"leave {name}")

        async def awaited() -> AsyncIterator[None]:
            log.add(f"enter {name}")
            yield
            log.add(f"leave {name}")

        return awaited if is_async else sync

    async def task(
        a: Annotated[None, Depends(dependency("a", is_async=False))],
        b: Annotated[None, Depends(dependency("b", is_async=False))],
        c: Annotated[None, Depends(dependency("c", is_async=True))],
        d: Annotated[None, Depends(dependency("d", is_async=False))],
    ) -> None: ...

    attempt(injection, task)

    assert [f"enter {name}" for name in "abcd"] == log[:4]
    assert [f"leave {name}" for name in "dcba"] == log[4:]


def test_a_dependency_that_yields_twice_fails_the_attempt(injection: Injection) -> None:
    def twice() -> Iterator[None]:
        yield
        yield

    def task(_: Annotated[None, Depends(twice)]) -> None: ...

    for func in both_kinds(task):
        with pytest.raises(RuntimeError, match="didn't stop"):
            attempt(injection, func)


def test_a_dependency_that_raises_stop_iteration_fails_the_attempt(injection: Injection) -> None:
    """Otherwise it would end a generator of Afterword or asyncio."""

    def stop() -> None:
        raise StopIteration

    async def task(_: Annotated[None, Depends(stop)]) -> None: ...

    with pytest.raises(RuntimeError, match="StopIteration"):
        attempt(injection, task)
