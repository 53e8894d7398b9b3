"""Tasks and their names: other processes find them, and never by accident."""

import functools
import os
import shutil
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword import NotStorable, task
from afterword.errors import DuplicateTask, UnknownTask

names: Any = sys.modules["afterword.tasks.registry"]  # `afterword.task` is the decorator


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty registry."""
    monkeypatch.setattr(names, "_registered", {})
    monkeypatch.setattr(names, "_duplicates", {})


def plain() -> None: ...


async def plain_async() -> None: ...


class Holder:
    """A class with static methods, at the top of a module."""

    attribute = plain

    @staticmethod
    def static() -> None: ...

    def method(self) -> None: ...

    @property
    def trap(self) -> None:
        """Fail: looking up the task must not run this."""
        pytest.fail("stored text ran a property")


alias = plain


def test_task_gives_the_function_back() -> None:
    assert plain is task(plain)
    assert task(shutil.rmtree) is shutil.rmtree
    assert "shutil:rmtree" == names.storable(shutil.rmtree)
    assert names.resolve("shutil:rmtree") is shutil.rmtree


@pytest.mark.parametrize(
    "func", [plain, plain_async, Holder.static], ids=lambda func: func.__name__
)
def test_functions_of_the_application_are_found_by_their_names(func: Any) -> None:
    name = names.storable(func)

    assert f"{__name__}:{func.__qualname__}" == name
    assert names.resolve(name) is func


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shutil:rmtree", id="stdlib"),
        pytest.param("os:system", id="builtin"),
        pytest.param("builtins:eval", id="builtins"),
        pytest.param("subprocess:run", id="subprocess"),
        pytest.param("pytest:main", id="installed-package"),
        pytest.param("fastapi.routing:get_request_handler", id="installed-module"),
        pytest.param("starlette.concurrency:run_in_threadpool", id="starlette"),
        pytest.param("this_is_not_imported:work", id="not-imported"),
        pytest.param("wave:open", id="stdlib-not-imported"),
        pytest.param(f"{__name__}:nothing", id="no-such-name"),
        pytest.param(f"{__name__}:alias", id="another-name-of-it"),
        pytest.param(f"{__name__}:shutil.rmtree", id="through-an-import"),
        pytest.param(f"{__name__}:names.resolve", id="through-a-variable"),
        pytest.param(f"{__name__}:Holder", id="class"),
        pytest.param(f"{__name__}:Holder.trap", id="property"),
        pytest.param(f"{__name__}:Holder.trap.fget", id="inside-a-property"),
        pytest.param(f"{__name__}:plain.__globals__", id="attribute"),
        pytest.param(f"{__name__}:plain.__call__", id="slot"),
        pytest.param(f"{__name__}:__builtins__.exec", id="dunder"),
        pytest.param(__name__, id="module-alone"),
        pytest.param(":plain", id="function-alone"),
        pytest.param("", id="empty"),
        pytest.param(":", id="colon"),
        pytest.param(f"{__name__}:plain\n", id="newline"),
        pytest.param("../x:y", id="path"),
        pytest.param("\0:\0", id="nul"),
        pytest.param("x" * 100_000, id="long"),
    ],
)
def test_stored_text_calls_nothing_else_and_imports_nothing(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(UnknownTask) as refusal:
        names.resolve(name)

    assert before == set(sys.modules)
    assert isinstance(refusal.value, LookupError)


@given(st.text())
def test_any_text_is_found_or_unknown(name: str) -> None:
    with pytest.raises(UnknownTask):
        names.resolve(name)


@pytest.mark.parametrize(
    "func",
    [
        pytest.param(lambda: None, id="lambda"),
        pytest.param(functools.partial(plain), id="partial"),
        pytest.param(Holder().method, id="bound-method"),
        pytest.param(shutil.rmtree, id="stdlib"),
        pytest.param(os.getpid, id="builtin"),
        pytest.param(Holder, id="class"),
    ],
)
def test_what_no_other_process_would_find_is_not_storable(func: Any) -> None:
    with pytest.raises(NotStorable):
        names.storable(func)


@pytest.mark.parametrize(
    "func", [lambda: None, functools.partial(plain)], ids=["lambda", "partial"]
)
def test_what_has_no_name_cannot_be_registered(func: Any) -> None:
    with pytest.raises(NotStorable, match="at the top of a module"):
        task(func)


def generate() -> Any:
    yield


async def generate_async() -> Any:
    yield


@pytest.mark.parametrize(
    "func", [generate, generate_async, None, 5], ids=["def", "async-def", "none", "number"]
)
def test_what_is_no_task_cannot_be_registered(func: Any) -> None:
    with pytest.raises(TypeError):
        task(func)


def test_two_functions_of_one_name_are_told_by_their_places() -> None:
    def other() -> None: ...

    other.__qualname__ = "plain"
    task(plain)
    task(plain)
    names.check_names()
    task(other)
    with pytest.raises(DuplicateTask) as refusal:
        names.check_names()

    assert 2 == str(refusal.value).count(f"{__file__}:")


class EvilRepr:
    """An object whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_any_object_can_be_shown() -> None:
    assert "<unprintable EvilRepr>" == names.safe_repr(EvilRepr())
    assert 80 == len(names.safe_repr("x" * 10_000_000))


class Callable_:  # noqa: N801
    """An object with an awaitable call."""

    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (plain, False),
        (plain_async, True),
        (functools.partial(functools.partial(plain_async)), True),
        (Callable_(), True),
        (Holder(), False),
    ],
)
def test_is_async(func: Any, expected: bool) -> None:
    assert expected is names.is_async(func)
