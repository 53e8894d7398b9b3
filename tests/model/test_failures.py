"""Groups of failures of the same kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterword.model.failures import (
    HOURS,
    NO_TEXT,
    common_text,
    grouped,
    kind_of,
    name_of,
    without_ids,
)

TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n    ~^^\n'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (f"{TRACEBACK}ValueError: no order 7", ("ValueError", "no order #")),
        (f"{TRACEBACK}app.errors.Refused", ("app.errors.Refused", "")),
        (f"{TRACEBACK}KeyError: 'a b'\nask the post office", ("KeyError", "<text>")),
        (
            f"{TRACEBACK}pydantic.ValidationError: 2 errors for Order\nid\n  Field required",
            ("pydantic.ValidationError", "# errors for Order"),
        ),
        (
            f"{TRACEBACK}KeyError: 1\n\nDuring handling ...:\n\n{TRACEBACK}TypeError: it's",
            ("TypeError", "it's"),
        ),
        ("app.Refused: can't, won't", ("app.Refused", "can't, won't")),
        ("ValueError: \"it's 'that'\" at 0x7F", ("ValueError", "<text> at <hex>")),
        ("poison: 3 workers were lost", ("", "poison: # workers were lost")),
        ("Traceback (most recent call last):\nValueError: no", ("ValueError", "no")),
        ("", ("", "")),
        ("\n\n", ("", "")),
        ("KeyError: " + "x" * 1000, ("KeyError", "x" * 290)),
    ],
)
def test_the_kind_of_an_error(error: str, kind: tuple[str, str]) -> None:
    assert kind == kind_of(error)


def test_a_group_of_exceptions_has_the_kind_of_its_last_one() -> None:
    error = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "a.py", line 1, in f\n  |     g()\n  | ExceptionGroup: two (2 sub-exceptions)\n'
        "  +-+---------------- 1 ----------------\n    | ValueError: 1\n"
        "    +---------------- 2 ----------------\n    | KeyError: 'a'\n"
        "    +------------------------------------"
    )

    assert ("ExceptionGroup", "two (# sub-exceptions)") == kind_of(error)


def test_hours_end_with_the_present_one() -> None:
    now = 100 * 3600.0 + 5
    times = [now + 10, now, now - 6, now - 3600 * (HOURS - 1), now - 3600 * HOURS]
    (group,) = grouped([(str(at), "app:a", at, "no") for at in times], 9, now).groups

    assert (1, 1, 2) == (group.hours[0], group.hours[-2], group.hours[-1])
    assert 4 == sum(group.hours)
    assert 5 == group.count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no route to 10.0.0.7:25", "no route to #"),
        ("<Order object at 0x7f3a2c>", "<Order object at <hex>>"),
        ("job 0193e5f0-7c1a-7b2e-8d3f-0123456789AB gone", "job <uuid> gone"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
        ("a decade, a facade", "a decade, a facade"),
    ],
)
def test_what_differs_from_job_to_job_is_taken_out(text: str, expected: str) -> None:
    assert expected == without_ids(text)


def test_a_group_has_a_name_its_times_and_its_newest_job() -> None:
    jobs = [("3", "app:a", 90.0, "E: 7"), ("2", "app:a", 99.0, "E: 8"), ("1", "app:b", 50.0, "E")]

    largest, other = grouped(jobs, 9, 100.0).groups

    assert ("app:a", "E: #", 2, "3") == (
        largest.task,
        largest.error,
        largest.count,
        largest.example,
    )
    assert (90.0, 99.0) == (largest.first_at.timestamp(), largest.last_at.timestamp())
    assert ("app:b", "E") == (other.task, other.error)


@pytest.mark.parametrize("error", [None, "", "\n \n"])
def test_an_error_without_words_has_a_name_too(error: str | None) -> None:
    assert NO_TEXT == name_of(error)
    assert common_text(NO_TEXT) is None


ERRORS = st.text("aE5.:'\"# \n|<>0x\0é", max_size=60) | st.text(max_size=60)


@given(ERRORS, st.booleans())
def test_the_common_text_of_a_kind_is_in_its_errors(error: str, traced: bool) -> None:
    error = f"{TRACEBACK}ValueError: {error}" if traced else error
    found = common_text(name_of(error))

    assert found is None or found in error
