"""Which failures are of one kind."""

import pytest

from afterword.model.failures import HOURS, grouped, kind_of

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
