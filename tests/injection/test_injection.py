"""Injection with every framework: parameters, order, and ends of attempts."""

import asyncio
import functools
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from afterword.errors import ArgumentError, InjectedArgumentError, InjectionError
from afterword.injection.needs import NOTHING, Injection
from afterword.tasks.registry import reference
from tests.injection.attempts import attempt, run, stored
from tests.injection.hand_made import HandMade, Marker, Wrapper, injection_of


class Other(Marker):
    """The marker of a second framework."""


class Context:
    """A type that the worker itself provides."""


Injected = Annotated[str, Marker()]
InjectedToo = Annotated[str, Other()]


def task(x: int, given: Injected) -> str:
    return f"{x}, {given}"


def plain(x: int) -> int:
    return x


# ---------------------------------------------------------------------- which parameters


def test_only_the_frameworks_own_wrappers_are_taken_off() -> None:

    @functools.wraps(task)
    def of_the_user(*args: Any, **kwargs: Any) -> str:
        return task(*args, **kwargs)

    injection = injection_of(HandMade())

    assert task is injection.unwrap(Wrapper(task))
    assert task is injection.unwrap(Wrapper(Wrapper(task)))
    assert of_the_user is injection.unwrap(Wrapper(of_the_user))
    assert of_the_user is injection.unwrap(of_the_user)


def test_a_wrapper_and_what_it_wraps_have_the_same_reference() -> None:
    injection = injection_of(HandMade())

    assert reference(task) == reference(injection.unwrap(Wrapper(task)))


def test_a_function_is_bound_once() -> None:
    injector = HandMade()
    injection = injection_of(injector)

    assert injection.of(task) is injection.of(task)
    assert [task] == injector.asked


def test_functions_made_for_one_call_are_not_kept() -> None:
    """A cache of closures would keep their objects alive: requests, sessions."""
    injector = HandMade()
    injection = injection_of(injector)

    def local(given: Injected) -> None: ...

    injection.of(local)
    injection.of(local)

    assert [local, local] == injector.asked


def test_injected_parameters_are_no_arguments() -> None:
    injection = injection_of(HandMade())

    assert '{"x":1}' == stored(injection, task, 1)
    with pytest.raises(ArgumentError, match=r"task\(x: int\).*missing a required argument: 'x'"):
        stored(injection, task)
    with pytest.raises(ArgumentError, match="got an unexpected keyword argument 'y'"):
        stored(injection, task, 1, y=2)


@pytest.mark.parametrize("add", [lambda f: f(1, given="x"), lambda f: f(1, "x")])
def test_a_value_for_an_injected_parameter_is_refused(
    add: Callable[[Callable[..., Any]], Any],
) -> None:
    injection = injection_of(HandMade())

    with pytest.raises(InjectedArgumentError, match=r"given.*Leave it out: add_task\(task, x\)"):
        add(functools.partial(stored, injection, task))


def test_an_injected_parameter_may_come_first() -> None:

    def first(given: Injected, x: int) -> str:
        return f"{given}, {x}"

    assert "given, 1" == attempt(injection_of(HandMade()), first, 1)


def test_an_injected_parameter_may_come_before_any_number_of_others() -> None:
    """Positional arguments must not take its place."""

    def rest(x: int, given: Injected, y: int, *more: int, also: Injected) -> str:
        return f"{x}, {given}, {y}, {more}, {also}"

    injection = injection_of(HandMade())

    assert "1, given, 2, (3, 4), also" == attempt(injection, rest, 1, 2, 3, 4)
    assert "1, given, 2, (), also" == attempt(injection, rest, 1, 2)


def test_types_that_the_worker_provides_are_injected_by_annotation() -> None:
    def native(x: int, context: Context, maybe: Context | None = None) -> object:
        return x, context, maybe

    injection = injection_of(builtin_types=(Context,))
    context = Context()

    assert (1, context, context) == attempt(injection, native, 1, provided={Context: context})


def test_a_task_without_injected_parameters_needs_nothing() -> None:
    injection = injection_of(HandMade())

    assert injection.of(plain) is NOTHING
    assert not injection.of(plain)


def test_what_stands_beside_a_type_is_not_asked_for_attributes() -> None:

    def strange(x: Annotated[int, Marker(), Other()], y: "Annotated[int, Other()]") -> None: ...

    injection = injection_of(builtin_types=(Context,))

    assert injection.of(strange) is NOTHING


def test_what_cannot_be_inspected_needs_nothing() -> None:
    assert injection_of(HandMade()).of(print) is NOTHING
    assert injection_of(HandMade()).of(functools.partial(plain, 1)) is NOTHING


def test_an_unresolvable_annotation_hides_no_other() -> None:
    def half(x: "Unknown", given: "Injected") -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert {"given"} == injection_of(HandMade()).of(half).names


def test_a_parameter_without_a_name_is_refused() -> None:
    def by_position(given: Injected, /) -> None: ...

    def any_number(*given: Injected) -> None: ...

    injection = injection_of(HandMade())

    for func in (by_position, any_number):
        with pytest.raises(InjectionError, match=r"by name, but 'given' .* cannot"):
            injection.of(func)


def test_a_parameter_of_two_frameworks_is_refused() -> None:
    def both(given: Annotated[str, Marker(), Other()]) -> None: ...

    injection = injection_of(HandMade(), HandMade([], Other, name="other"))

    with pytest.raises(InjectionError, match=r"'given' .* both hand-made and other"):
        injection.of(both)


def test_a_check_finds_the_tasks_that_can_never_run() -> None:

    def by_position(given: Injected, /) -> None: ...

    tasks: dict[str, Callable[..., Any]] = {
        "task": task,
        "by_position": by_position,
        "plain": plain,
    }
    found = injection_of(HandMade()).refusals(tasks)

    assert ["by_position"] == list(found)
    assert "'given'" in str(found["by_position"])


# ---------------------------------------------------------------------- order and ending


def _site(log: list[str], inner: str = "", outer: str = "") -> Injection:
    """Return an injection with two frameworks; the first one asked is entered second below."""
    return injection_of(HandMade(log, Other, inner, "other"), HandMade(log, Marker, outer))


BODIES = ["def", "async def"]


def _task(kind: str, log: list[str], error: BaseException | None = None) -> Callable[..., Any]:
    """A task with two injected parameters, which may raise."""

    def body(first: Injected, second: InjectedToo) -> str:
        log.append("body")
        if error is not None:
            raise error
        return f"{first}, {second}"

    async def async_body(first: Injected, second: InjectedToo) -> str:
        await asyncio.sleep(0)
        return body(first, second)

    return body if kind == "def" else async_body


@pytest.mark.parametrize("kind", BODIES)
def test_entered_in_the_order_of_parameters_and_left_in_reverse(kind: str) -> None:
    log: list[str] = []

    assert "first, second" == attempt(_site(log), _task(kind, log))
    assert ["enter first", "enter second", "body", "leave second", "leave first"] == log


@pytest.mark.parametrize("kind", BODIES)
def test_an_attempt_whose_teardown_fails_has_failed(kind: str) -> None:
    """Later teardowns get the error."""
    log: list[str] = []

    with pytest.raises(OSError, match="second cannot be left"):
        attempt(_site(log, inner="leave"), _task(kind, log))
    assert ["leave second", "leave first: OSError"] == log[-2:]


@pytest.mark.parametrize("kind", BODIES)
def test_everybody_is_told_of_the_exception_and_nobody_swallows_it(kind: str) -> None:
    log: list[str] = []
    error = ValueError("of the body")

    with pytest.raises(ValueError, match="of the body"):
        attempt(_site(log, inner="swallow", outer="swallow"), _task(kind, log, error))
    assert ["leave second: ValueError", "leave first: ValueError"] == log[-2:]


@pytest.mark.parametrize("kind", BODIES)
def test_the_exception_of_the_body_wins_and_notes_those_of_the_teardown(kind: str) -> None:
    log: list[str] = []
    error = ValueError("of the body")

    with pytest.raises(ValueError, match="of the body") as raised:
        attempt(_site(log, inner="leave", outer="leave"), _task(kind, log, error))
    assert [
        "The teardown that followed raised OSError: second cannot be left",
        "The teardown that followed raised OSError: first cannot be left",
    ] == raised.value.__notes__
    assert ["leave second: ValueError", "leave first: ValueError"] == log[-2:]


@pytest.mark.parametrize("kind", BODIES)
def test_a_failing_setup_closes_what_is_open_and_keeps_its_cause(kind: str) -> None:
    log: list[str] = []

    with pytest.raises(LookupError, match="second cannot be had"):
        attempt(_site(log, inner="enter"), _task(kind, log))
    assert ["enter first", "leave first: LookupError"] == log


@pytest.mark.parametrize("kind", BODIES)
def test_the_cause_of_an_exception_is_left_as_it_is(kind: str) -> None:
    cause, error = KeyError("cause"), ValueError("of the body")
    error.__cause__ = cause

    with pytest.raises(ValueError, match="of the body") as raised:
        attempt(_site([]), _task(kind, [], error))
    assert cause is raised.value.__cause__


class Frozen(Exception):
    """An exception that cannot have notes."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "__notes__":
            raise AttributeError(name)
        super().__setattr__(name, value)


def test_an_exception_that_takes_no_notes_wins_all_the_same() -> None:
    with pytest.raises(Frozen):
        attempt(_site([], inner="leave"), _task("def", [], Frozen()))


def test_each_attempt_has_a_scope_of_its_own() -> None:
    log: list[str] = []
    injection = _site(log)
    func = _task("def", log)
    text = stored(injection, func)

    run(injection, func, text, {})
    run(injection, func, text, {})

    assert 2 == log.count("enter first")
    assert 2 == log.count("leave first")


def test_a_scope_can_be_used_as_any_context_manager() -> None:
    needs = _site([]).of(_task("def", []))

    with needs.sync_scope({}) as values:
        assert {"first": "first", "second": "second"} == values
    assert needs.all_sync
