"""Outcomes of attempts, and errors as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword.errors import UnknownTask
from afterword.model.outcome import (
    ERROR_LIMIT,
    describe,
    summarize,
    truncate,
)


class Evil(Exception):
    """An error that raises when it is printed."""

    def __str__(self) -> str:
        raise RuntimeError("not printable")


class Worse(BaseException):
    """An error that raises an unusual exception when it is printed."""

    def __str__(self) -> str:
        raise SystemExit(1)


def raised(error: BaseException) -> BaseException:
    """Raise the error; returns it with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_error_names_its_cause_and_its_group() -> None:
    cause = raised(KeyError("cause"))
    error = ExceptionGroup("several", [ValueError("one"), TypeError("two")])
    error.__cause__ = cause

    text = describe(raised(error))

    assert all(part in text for part in ("KeyError: 'cause'", "several", "one", "two"))


@pytest.mark.parametrize("error", [Evil(), Worse()])
def test_an_error_that_cannot_be_printed_is_named(error: BaseException) -> None:
    assert type(error).__qualname__ in describe(raised(error))


def test_a_huge_error_keeps_its_head_and_its_tail() -> None:
    text = describe(raised(ValueError("x" * 50_000_000 + "the end")))

    assert len(text) < ERROR_LIMIT + 100
    assert text.startswith("Traceback")
    assert text.endswith("the end")


def test_a_long_chain_of_errors_is_cut() -> None:
    error: Exception = ValueError("0")
    for number in range(1_000):
        error, error.__cause__ = ValueError(str(number)), error

    assert len(describe(error)) < ERROR_LIMIT + 100


@given(st.text(st.characters(), max_size=200))
def test_any_message_becomes_text_that_can_be_stored(message: str) -> None:
    text = describe(ValueError(message))

    assert text == text.encode().decode()


def test_half_a_surrogate_is_replaced() -> None:
    assert "ValueError: a?b" == describe(ValueError("a\ud800b"))


def test_a_summary_is_the_message_alone() -> None:
    assert "ValueError: no" == summarize(raised(ValueError("no")))
    assert "No task of this name." == summarize(raised(UnknownTask("No task of this name.")))
    assert "Evil" in summarize(raised(Evil()))


@given(st.text("ab", max_size=100), st.integers(min_value=2, max_value=120))
def test_truncate_keeps_both_ends(text: str, limit: int) -> None:
    short = truncate(text, limit)

    if len(text) <= limit:
        assert text == short
    else:
        half = limit // 2
        assert text[:half] == short[:half]
        assert text[-half:] == short[-half:]
        assert f"... {len(text) - 2 * half} characters left out ..." in short
