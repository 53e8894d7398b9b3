"""Plain arguments take a shorter way, with the same results."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import pytest
from annotated_types import MinLen
from hypothesis import given, settings
from hypothesis import strategies as st

from afterword.errors import AfterwordError
from afterword.tasks.arguments import Plan, plan
from afterword.tasks.payload import PAYLOAD_LIMIT, same


def take_anything(first, second=None, *, third=3):  # type: ignore[no-untyped-def]
    """Take values without annotations."""


def take_typed(
    number: int,
    text: str,
    share: float = 0.5,
    *,
    sure: bool = False,
    word: str = None,  # type: ignore[assignment]  # noqa: RUF013
) -> None:
    """Take values with annotations."""


def take_maybe(number: int | None, text: str | None = None, guess: int | str = 0) -> None:
    """Take values with unions."""


def take_mixed(number: int, long: Annotated[str, MinLen(3)] = "long", more: list[int] = []) -> None:  # noqa: B006
    """Take arguments of which some may take the short way, if the others are left out."""


def take_nothing() -> None:
    """Take nothing."""


FUNCTIONS: list[Callable[..., Any]] = [
    take_anything,
    take_typed,
    take_maybe,
    take_mixed,
    take_nothing,
]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63 - 3, 2**63 + 3)
    | st.floats()
    | st.text()
    | st.text(st.characters(), max_size=3)  # half a surrogate pair, too
    | st.lists(st.integers(), max_size=2)
)


def long_way(func: Callable[..., Any]) -> Plan:
    return replace(plan(func), scalars=None)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """Return the result or the error of a call."""
    try:
        return call(*args)
    except AfterwordError as error:
        return type(error), str(error)


@pytest.mark.parametrize("func", FUNCTIONS)
def test_both_ways_write_the_same_and_read_the_same(func: Callable[..., Any]) -> None:
    names = st.sampled_from([*inspect.signature(func).parameters, "unknown"])

    @given(st.lists(VALUES, max_size=4), st.dictionaries(names, VALUES, max_size=4))
    @settings(max_examples=300, deadline=None)
    def check(args: list[Any], kwargs: dict[str, Any]) -> None:
        expected = outcome(long_way(func).encode, tuple(args), kwargs)

        assert expected == outcome(plan(func).encode, tuple(args), kwargs)
        if isinstance(expected, str):
            assert same(long_way(func).decode(expected), plan(func).decode(expected))

    check()


@pytest.mark.parametrize("func", FUNCTIONS)
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"number":1,"number":2,"text":"a"}',
        '{"number":1,"text":"a","share":1}',
        '{"number":1,"text":"a","share":NaN}',
        '{"number":true,"text":"a"}',
        '{"first":1e400}',
        '{"first":"\\ud800"}',
        '{"first":[1]}',
        '{"unknown":1}',
        "[]",
        "nonsense",
    ],
)
def test_both_ways_read_strangers_texts_the_same(func: Callable[..., Any], text: str) -> None:
    expected = outcome(long_way(func).decode, text)

    assert repr(expected) == repr(outcome(plan(func).decode, text))


@pytest.mark.parametrize("length", [PAYLOAD_LIMIT - 20, PAYLOAD_LIMIT - 10, PAYLOAD_LIMIT + 1])
@pytest.mark.parametrize("letter", ["a", "é", '"'])
def test_both_ways_have_the_same_limit(length: int, letter: str) -> None:
    args = (letter * length,)
    expected = outcome(long_way(take_anything).encode, args, {})

    assert expected == outcome(plan(take_anything).encode, args, {})


@pytest.mark.parametrize(
    "number", [math.inf, 10**5000, 2**63, -(2**63), -0.0, 5e-324], ids=lambda _: "number"
)
def test_both_ways_have_the_same_numbers(number: float) -> None:
    expected = outcome(long_way(take_anything).encode, (number,), {})

    assert expected == outcome(plan(take_anything).encode, (number,), {})


def test_what_can_be_given_by_position_only_goes_the_long_way() -> None:
    def divide(number: int, /) -> None: ...

    assert plan(divide).scalars is None
    assert ([1], {}) == plan(divide).decode('{"number":1}')
