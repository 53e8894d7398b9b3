"""Retries: the number of attempts, and the delays between them."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword.errors import ConfigurationError
from afterword.tasks.retry import (
    MAX_DELAY,
    MAX_RETRIES,
    Backoff,
    Delays,
    as_backoff,
    checked_retries,
)

CHANCES = st.floats(0, 1, exclude_max=True)
FAILURES = st.integers(1, 10**30)
JITTERS = st.floats(0, 1)
SECONDS = st.floats(0, MAX_DELAY) | st.integers(0, int(MAX_DELAY))
NOT_SECONDS = [-1, -0.5, math.nan, math.inf, -math.inf, True, "5", None, 10**400, 2 * MAX_DELAY]


@st.composite
def backoffs(draw: st.DrawFn, jitter: st.SearchStrategy[float] = JITTERS) -> Backoff:
    """Generate any valid backoff."""
    cap = draw(SECONDS)
    return Backoff(
        base=draw(st.floats(0, float(cap))),
        factor=draw(st.floats(1, 1000)),
        cap=cap,
        jitter=draw(jitter),
    )


# ---------------------------------------------------------------------- growing delays


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(base=3, cap=20, jitter=0)

    delays = [backoff.delay(failures, chance=0.9) for failures in range(1, 7)]

    assert [3, 6, 12, 20, 20, 20] == delays


def test_chance_takes_off_up_to_the_jitter() -> None:
    backoff = Backoff(base=8, jitter=0.25)

    delays = [backoff.delay(1, chance) for chance in (0, 0.5, math.nextafter(1, 0))]

    assert [8, 7, pytest.approx(6)] == delays


@given(backoffs(), FAILURES, CHANCES)
def test_a_delay_is_within_its_bounds(backoff: Backoff, failures: int, chance: float) -> None:
    delay = backoff.delay(failures, chance)
    whole = backoff.delay(failures, 0)

    assert isinstance(delay, float)
    assert 0 <= delay <= whole <= backoff.cap
    assert whole * (1 - backoff.jitter) <= delay or delay == pytest.approx(
        whole * (1 - backoff.jitter)
    )


@given(backoffs(jitter=st.just(0.0)), FAILURES, FAILURES)
def test_without_jitter_delays_never_shrink(backoff: Backoff, one: int, other: int) -> None:
    fewer, more = sorted((one, other))

    assert backoff.delay(fewer, 0) <= backoff.delay(more, 0)


@given(backoffs(jitter=st.just(0.0)), st.integers(1, 40))
def test_a_delay_is_the_base_times_the_factor_for_each_further_failure(
    backoff: Backoff, failures: int
) -> None:
    """It is compared with exact fractions."""
    grown = Fraction(backoff.base) * Fraction(backoff.factor) ** (failures - 1)
    expected = float(min(grown, Fraction(backoff.cap)))

    assert backoff.delay(failures, 0) == pytest.approx(expected)


@pytest.mark.parametrize("failures", [1025, 10**9, 10**400])
def test_any_number_of_failures_ends_at_the_cap(failures: int) -> None:
    assert 3600 == Backoff(jitter=0).delay(failures, 0)


def test_a_base_of_nothing_stays_nothing() -> None:
    backoff = Backoff(base=0)

    assert [0, 0, 0] == [backoff.delay(failures, 0.5) for failures in (1, 2, 10**9)]


def test_no_growth_is_a_factor_of_one() -> None:
    assert 5 == Backoff(base=5, factor=1, jitter=0).delay(10**9, 0)


@pytest.mark.parametrize("failures", [0, -1])
def test_before_the_first_failure_the_delay_is_the_first(failures: int) -> None:
    assert 1 == Backoff().delay(failures, 0) == Delays((1, 2)).delay(failures, 0)


@pytest.mark.parametrize("name", ["base", "factor", "cap", "jitter"])
@pytest.mark.parametrize("value", NOT_SECONDS)
def test_a_backoff_of_no_numbers_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"Backoff's {name}.*must be a number from"):
        Backoff(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": 7200}, "base (at most its cap) must be a number from 0 to 3600, but it is 7200."),
        ({"factor": 0.5}, "factor must be a number from 1 to 1000, but it is 0.5."),
        ({"jitter": 1.5}, "jitter must be a number from 0 to 1, but it is 1.5."),
        ({"cap": 1e9}, "cap must be a number from 0 to 31622400, but it is 1000000000.0."),
    ],
)
def test_the_limits_of_a_backoff_are_in_the_message(
    options: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Backoff(**options)

    assert message in str(caught.value)


# ---------------------------------------------------------------------- delays as written


@given(st.lists(SECONDS, min_size=1), FAILURES, CHANCES)
def test_written_delays_are_taken_as_they_are(
    seconds: list[float], failures: int, chance: float
) -> None:
    delay = Delays(tuple(seconds)).delay(failures, chance)

    assert seconds[min(failures, len(seconds)) - 1] == delay
    assert isinstance(delay, float)


@pytest.mark.parametrize("value", NOT_SECONDS)
def test_a_written_delay_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="Each delay of backoff must be a number from 0"):
        as_backoff([1, value])


def test_no_delays_at_all_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one delay, but it is"):
        as_backoff([])


# ---------------------------------------------------------------------- the option


@given(SECONDS)
def test_a_number_is_the_base(seconds: float) -> None:
    backoff = as_backoff(seconds)

    assert isinstance(backoff, Backoff)
    assert seconds == backoff.delay(1, 0)


def test_a_long_base_is_its_own_cap() -> None:
    assert Backoff(base=7200, cap=7200) == as_backoff(7200)


@pytest.mark.parametrize("value", [[1, 2.5], (1, 2.5)])
def test_a_sequence_is_the_delays(value: object) -> None:
    assert Delays((1, 2.5)) == as_backoff(value)


@pytest.mark.parametrize("value", [Backoff(base=3), Delays((1,))])
def test_a_backoff_stays_what_it_is(value: Backoff | Delays) -> None:
    assert value is as_backoff(value)


class Hostile:
    """An object that raises when it is printed."""

    def __repr__(self) -> str:
        raise RuntimeError("not printable")


@pytest.mark.parametrize(
    "value", [*NOT_SECONDS, b"ab", {1, 2}, {1: 2}, (n for n in (1, 2)), object(), Hostile(), 1j]
)
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"backoff must be .*but it is .*Example: "):
        as_backoff(value)


def test_the_message_has_rule_value_and_example() -> None:
    with pytest.raises(ConfigurationError) as caught:
        as_backoff("5 s")

    assert str(caught.value) == (
        "backoff must be a number of seconds, a list of them, or a Backoff, but it is '5 s'."
        " Example: backoff=5 (seconds, then doubled), backoff=[1, 10, 60],"
        " backoff=Backoff(base=1, cap=600)."
    )


# ---------------------------------------------------------------------- how often


@given(st.integers(0, MAX_RETRIES))
def test_retries_are_a_count(retries: int) -> None:
    assert retries == checked_retries(retries)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        MAX_RETRIES + 1,
        10**9,
        pytest.param(10**5000, id="huge"),
        True,
        False,
        2.0,
        math.nan,
        "3",
        None,
        [3],
    ],
)
def test_retries_that_are_no_count_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"tries must be a whole number from 0 to 10000"):
        checked_retries(value, name="tries")


def test_the_message_about_retries_has_rule_value_and_example() -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_retries(-1)

    assert str(caught.value) == (
        "retries must be a whole number from 0 to 10000, but it is -1. Example: retries=5."
    )
