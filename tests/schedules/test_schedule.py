"""Schedules: the times at which they are due, and missed occurrences.

The oracle for cron follows its definition: it goes through every minute of real time, and looks at
the wall clock. It does not use cronsim; expressions are generated together with the
sets of numbers that they mean.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from afterword import Afterword
from afterword.errors import ConfigurationError
from afterword.model.job import first_id, new_id
from afterword.schedules.recurrence import NEVER, Cron, Every, Passed, Rule, as_rule
from afterword.schedules.schedule import Firing, Missed, Schedule, occurrence_id, plan_firing

MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
LARGEST = 366 * DAY


def at(text: str) -> float:
    """Return the seconds since 1970 of a time with an offset."""
    return datetime.fromisoformat(text).timestamp()


def shown(seconds: float, zone: str) -> str:
    """Return the time that clocks and calendars show, with the offset."""
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).isoformat(" ", "minutes")


def following(rule: Rule, after: float) -> Iterator[float]:
    """Yield the occurrences of a rule, without end."""
    while True:
        after = rule.next_after(after)
        yield after


def between(rule: Rule, after: float, until: float) -> list[float]:
    """Return the occurrences after one time, up to another, asked for one by one."""
    found = []
    for each in following(rule, after):
        if each > until:
            break
        found.append(each)
    return found


# ---------------------------------------------------------------------- the oracle


@dataclass(frozen=True)
class Meaning:
    """A cron expression, and the numbers that each of its fields stands for."""

    expression: str
    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]  # 0 is Sunday

    def follows_the_clock(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return minute[0] == "*" or hour[0] == "*"

    def is_shown(self, wall: datetime) -> bool:
        """Return True if the expression matches this time on clock and calendar."""
        _, _, day, _, weekday = self.expression.split()
        either = [wall.day in self.days, wall.isoweekday() % 7 in self.weekdays]
        on_this_day = all(either) if "*" in (day[0], weekday[0]) else any(either)
        on_time = wall.hour in self.hours and wall.minute in self.minutes
        return on_time and on_this_day and wall.month in self.months


def oracle(meaning: Meaning, zone: str, after: float, until: float) -> list[float]:
    """Return the occurrences after one time, up to another, minute by minute."""
    tz = ZoneInfo(zone)
    start = int(after // MINUTE + 1) * MINUTE
    return [
        float(now)
        for now in range(start, int(until) + 1, MINUTE)
        if occurs(meaning, datetime.fromtimestamp(now, tz), datetime.fromtimestamp(now - 60, tz))
    ]


def occurs(meaning: Meaning, wall: datetime, before: datetime) -> bool:
    """Return True if there is an occurrence at this minute; `before` is the minute before."""
    if meaning.follows_the_clock():
        return meaning.is_shown(wall)
    time, skipped = before.replace(tzinfo=None, fold=0), []
    while (time := time + timedelta(minutes=1)) < wall.replace(tzinfo=None, fold=0):
        skipped.append(time)
    return any(map(meaning.is_shown, skipped)) or (meaning.is_shown(wall) and wall.fold == 0)


ANY_DAY = st.just(("*", {*range(1, 32)}))
ANY_MONTH = st.just(("*", {*range(1, 13)}))
ANY_WEEKDAY = st.just(("*", {*range(7)}))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """Generate a field with values from low to high, and its meaning."""
    kind = draw(st.sampled_from(["*", "*", "*/n", "list", "a-b", "a-b/n", "a/n"]))
    if kind == "*":
        return "*", set(range(low, high + 1))
    step = draw(st.integers(1, high))
    if kind == "*/n":
        return f"*/{step}", set(range(low, high + 1, step))
    if kind == "list":
        values = draw(st.lists(st.integers(low, high), min_size=1, max_size=4))
        return ",".join(map(str, values)), set(values)
    first = draw(st.integers(low, high - 1))
    if kind == "a/n":
        return f"{first}/{step}", set(range(first, high + 1, step))
    last = draw(st.integers(first + 1, high))
    if kind == "a-b":
        return f"{first}-{last}", set(range(first, last + 1))
    return f"{first}-{last}/{step}", set(range(first, last + 1, step))


@st.composite
def meanings(draw: st.DrawFn) -> Meaning:
    """Generate any expression of numbers, lists, ranges and steps."""
    minute, minutes = draw(fields(0, 59))
    hour, hours = draw(fields(0, 23))
    day, days = draw(ANY_DAY | fields(1, 31))
    month, months = draw(ANY_MONTH | fields(1, 12))
    weekday, weekdays = draw(ANY_WEEKDAY | fields(0, 7))  # 7 is Sunday, too
    expression = f"{minute} {hour} {day} {month} {weekday}"
    return Meaning(expression, minutes, hours, days, months, {each % 7 for each in weekdays})


# Clocks that change by an hour, by half an hour, by two hours and by three, at midnight and before,
# north and south, for Ramadan, by a whole day; and one that no longer changes.
CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00Z"),
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("Antarctica/Troll", "2026-03-29T01:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00Z"),
    ("Antarctica/Casey", "2010-03-04T15:00Z"),
    ("America/Havana", "2026-03-08T05:00Z"),
    ("America/Havana", "2026-11-01T05:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    ("America/St_Johns", "2010-03-14T03:31Z"),
    ("America/St_Johns", "2010-11-07T02:31Z"),
    ("Africa/Casablanca", "2026-02-15T02:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("Asia/Kolkata", "2026-06-01T00:00Z"),
]


def existing(meaning: Meaning, zone: str) -> Cron | None:
    """Return the rule, unless it names days that no month has."""
    try:
        return Cron(meaning.expression, zone)
    except ConfigurationError:
        return None


@settings(deadline=None, max_examples=150)
@given(meanings(), st.sampled_from(CHANGES), st.integers(-36 * HOUR, 12 * HOUR))
@example(
    Meaning(
        "*/10 3 * * *", set(range(0, 60, 10)), {3}, {*range(1, 32)}, {*range(1, 13)}, {*range(7)}
    ),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    -HOUR,
)
@example(
    Meaning(
        "0/1 0/1 * * *", {*range(60)}, {*range(24)}, {*range(1, 32)}, {*range(1, 13)}, {*range(7)}
    ),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    -1,
)
def test_cron_agrees_with_the_clock_on_the_wall(
    meaning: Meaning, change: tuple[str, str], offset: int
) -> None:
    """The time span is a day and a half around a change of the clocks."""
    zone, changed_at = change
    after = at(changed_at) + offset
    until = after + 36 * HOUR
    rule = existing(meaning, zone)
    if rule is None:
        return
    expected = oracle(meaning, zone, after, until)

    assert expected == between(rule, after, until)
    assert Passed(len(expected), tuple(expected[-5:])) == rule.passed(after, until, limit=5)


@settings(deadline=None, max_examples=100)
@given(meanings(), st.integers(0, 4_000_000_000), st.integers(1, 20 * DAY))
def test_cron_agrees_with_the_calendar(meaning: Meaning, after: int, seconds: int) -> None:
    """The time span is some days in the next decades; the oracle uses no calendar either."""
    rule = existing(meaning, "UTC")
    if rule is None:
        return
    expected = oracle(meaning, "UTC", after, after + seconds)

    assert expected[:50] == between(rule, after, expected[49] if expected[50:] else after + seconds)
    assert Passed(len(expected), tuple(expected[-7:])) == rule.passed(
        after, after + seconds, limit=7
    )


# ---------------------------------------------------------------------- cron by hand


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28 00:00+01:00",
            ["2026-03-28 02:30+01:00", "2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"],
        ),
        (
            "0,30 2-3 * * *",
            "Europe/Berlin",
            "2026-03-29 00:00+01:00",
            ["2026-03-29 03:00+02:00", "2026-03-29 03:30+02:00", "2026-03-30 02:00+02:00"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29 01:00+01:00",
            ["2026-03-29 01:30+01:00", "2026-03-29 03:00+02:00", "2026-03-29 03:30+02:00"],
        ),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2026-03-28 23:00+01:00",
            ["2026-03-29 00:00+01:00", "2026-03-29 04:00+02:00", "2026-03-29 06:00+02:00"],
        ),
        # Berlin, 25 October 2026: 03:00 becomes 02:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24 12:00+02:00",
            ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25 01:00+02:00",
            ["2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00", "2026-10-25 03:00+01:00"],
        ),
        # New York, 8 March and 1 November 2026.
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07 12:00-05:00",
            ["2026-03-08 03:00-04:00", "2026-03-09 02:30-04:00"],
        ),
        (
            "15 1 * * *",
            "America/New_York",
            "2026-10-31 12:00-04:00",
            ["2026-11-01 01:15-04:00", "2026-11-02 01:15-05:00"],
        ),
        # Lord Howe changes by half an hour: 2:00 becomes 2:30 on 4 October, 1:30 on 5 April 2026.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03 12:00+10:30",
            ["2026-10-04 02:30+11:00", "2026-10-05 02:15+11:00"],
        ),
        (
            "*/10 3 * * *",
            "Australia/Lord_Howe",
            "2026-10-03 12:00+10:30",
            ["2026-10-04 03:00+11:00", "2026-10-04 03:10+11:00", "2026-10-04 03:20+11:00"],
        ),
        (
            "*/20 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-05 01:10+11:00",
            [
                "2026-04-05 01:20+11:00",
                "2026-04-05 01:40+11:00",
                "2026-04-05 01:40+10:30",
                "2026-04-06 01:00+10:30",
            ],
        ),
        # Newfoundland's clocks went back a minute after midnight: the 7th began twice.
        (
            "0 * * * *",
            "America/St_Johns",
            "2010-11-06 22:30-02:30",
            [
                "2010-11-06 23:00-02:30",
                "2010-11-07 00:00-02:30",
                "2010-11-07 00:00-03:30",
            ],
        ),
        # Samoa had no 30 December 2011.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29 00:00-10:00",
            ["2011-12-29 12:00-10:00", "2011-12-31 00:00+14:00", "2011-12-31 12:00+14:00"],
        ),
        # The calendar.
        (
            "0 0 29 2 *",
            "UTC",
            "2096-01-01 00:00+00:00",
            ["2096-02-29 00:00+00:00", "2104-02-29 00:00+00:00"],
        ),
        ("0 0 L * *", "UTC", "2028-02-01 00:00+00:00", ["2028-02-29 00:00+00:00"]),
        ("0 0 LW * *", "UTC", "2026-05-01 00:00+00:00", ["2026-05-29 00:00+00:00"]),
        ("0 0 * * 5L", "UTC", "2026-05-01 00:00+00:00", ["2026-05-29 00:00+00:00"]),
        ("0 0 * * mon#2", "UTC", "2026-05-01 00:00+00:00", ["2026-05-11 00:00+00:00"]),
        ("0 0 31 * *", "UTC", "2026-04-01 00:00+00:00", ["2026-05-31 00:00+00:00"]),
        ("0 9 * jan SUN,7", "UTC", "2026-01-01 00:00+00:00", ["2026-01-04 09:00+00:00"]),
        (
            "0 0 13 * FRI",
            "UTC",
            "2026-02-07 00:00+00:00",
            ["2026-02-13 00:00+00:00", "2026-02-20 00:00+00:00"],
        ),
    ],
)
def test_cron_by_hand(expression: str, zone: str, after: str, expected: list[str]) -> None:
    occurrences = following(Cron(expression, zone), at(after))

    assert expected == [shown(next(occurrences), zone) for _ in expected]


def test_an_occurrence_is_after_the_time_asked_for() -> None:
    rule = Cron("0 0 * * *")

    assert [DAY, 2 * DAY, 2 * DAY] == [
        rule.next_after(time) for time in (DAY - 0.001, DAY, DAY + 1)
    ]


def test_a_rule_that_does_not_occur_any_more_says_never() -> None:
    """Calendars end with the year 9999."""
    rule = Cron("0 0 * * *")

    assert NEVER == rule.next_after(NEVER - DAY)
    assert rule.next_after(at("9800-01-01T00:00Z")) < NEVER


def test_years_of_minutes_are_counted_by_days() -> None:
    passed = Cron("* * * * *", "Europe/Berlin").passed(NOW - 3650 * DAY, NOW, limit=3)

    assert Passed(3650 * 24 * 60, (NOW - 120, NOW - 60, NOW)) == passed


def test_occurrences_of_more_than_ten_years_ago_are_not_looked_for() -> None:
    passed = Cron("0 0 29 2 *").passed(0, at("2026-01-01T00:00Z"), limit=100)

    assert ["2016", "2020", "2024"] == [shown(each, "UTC")[:4] for each in passed.newest]


def test_cron_has_a_text_for_the_store_and_words_for_people() -> None:
    rule = Cron(" */5  9-17 * * mon-fri", "Europe/Berlin")

    assert "*/5 9-17 * * MON-FRI Europe/Berlin" == rule.text
    assert "Every fifth minute from 09:00 through 17:59 on Monday through Friday" in rule.words
    assert rule.words.endswith("(Europe/Berlin)")


def test_the_zone_is_utc_unless_another_is_said() -> None:
    assert "* * * * * UTC" == Cron("* * * * *").text
    assert "Every minute (UTC)" == Cron("* * * * *").words


# ---------------------------------------------------------------------- cron that cannot be


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "it has 0"),
        ("* * * *", "it has 4"),
        ("* * * * * *", "no seconds), but '* * * * * *' cannot be read: it has 6"),
        ("@daily", "it has 1"),
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("1,,2 * * * *", "bad minute"),
        ("-1 * * * *", "bad minute"),
        ("٥ * * * *", "bad minute"),
        ("\0 * * * *", "bad minute"),
        ("0 0 * * ²L", "bad day-of-week"),
        ("0 0 31 2 *", "bad day-of-month, or one that none of its months has"),
        ("0 0 31 4,6,9,11 *", "bad day-of-month, or one that none of its months has"),
        ("0 0 */31 * 1#5", "must occur within 50 years"),  # the first, which is a fifth Monday
        ("1 * * * * " * 1000, "not text of up to 256 characters"),
        ("1" * 10_000, "not text of up to 256 characters"),
        ("1" * 200 + " * * * *", "bad minute"),
        (b"* * * * *", "not text"),
        (None, "not text"),
    ],
)
def test_an_expression_that_cannot_be_is_refused_at_once(expression: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron(expression)

    assert why in str(caught.value)
    assert "Example: @afterword.every(" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_time_that_is_always_skipped_is_refused() -> None:
    """On the last Sunday of March, Berlin's clocks never show 2:xx."""
    assert Cron("* 2 * 3 0L", "UTC").next_after(NOW) < NEVER
    with pytest.raises(ConfigurationError, match=r"within 50 years, but '\* 2 \* 3 0L' does not"):
        Cron("* 2 * 3 0L", "Europe/Berlin")


@pytest.mark.parametrize("value", [5, 5.0, timedelta(minutes=5)])
def test_an_interval_in_place_of_an_expression_is_told_its_name(value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        as_rule(value)

    assert f"@afterword.every({value!r})  # incorrect!" in str(caught.value)
    assert f"@afterword.every(seconds={value!r})  # correct!" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"missed": "some"}, "missed must be one of"),
        ({"overlap": "no"}, "overlap must be one of"),
        ({"limit": 0}, "limit must be"),
        ({"grace": "1m"}, "grace must be"),
        ({"name": "a b"}, "schedule's name must be"),
        ({"args": 42}, "args of every.* must be a list"),
        ({"args": "42"}, "args of every.* must be a list"),
        ({"kwargs": 42}, "kwargs of every.* must be a dictionary"),
    ],
)
def test_a_mistake_is_refused_where_it_is_made(options: Any, said: str, tmp_path: Path) -> None:
    """The traceback shows the line of the schedule instead of the application's start."""
    afterword = Afterword(url=f"sqlite:///{tmp_path / 'jobs.db'}")
    with pytest.raises(ConfigurationError, match=said):
        afterword.every(seconds=30, **options)(at)


def test_a_schedule_without_a_rule_is_told_the_right_line() -> None:
    every: Any = as_rule
    with pytest.raises(ConfigurationError, match=r"every\(seconds=30\)  # correct!"):
        every(at)


@settings(deadline=None)
@given(st.text("0123456789*/,-#LWMONJAN ", max_size=30) | st.text(max_size=30))
def test_any_text_is_read_or_refused(expression: str) -> None:
    try:
        rule = Cron(expression)
    except ConfigurationError:
        return

    assert rule.words
    assert rule.text.isupper()
    assert rule.next_after(NOW) > NOW


@settings(deadline=None)
@given(meanings())
def test_whatever_is_read_has_words_and_a_text_that_means_the_same(meaning: Meaning) -> None:
    rule = existing(meaning, "Europe/Berlin")
    if rule is not None:
        expression, _, zone = rule.text.rpartition(" ")

        assert rule.words
        assert rule.text == Cron(expression, zone).text


@pytest.mark.parametrize(
    "zone",
    [
        "Mars/Phobos",
        "EST5EDT",
        "Japan",
        "utc",
        "",
        "Europe",
        "Europe/",
        "Europe/Berlin\n",
        "Europe/Berlin\0",
        "Europe/Berlin/" + "x" * 10_000,
        "x/" * 5000,
        "../zoneinfo/Europe/Berlin",
        "Europe/../Asia/Tokyo",
        "/usr/share/zoneinfo/Europe/Berlin",
        "right/Europe/Berlin",
        "Köln/Süd",
        None,
        60,
        UTC,
    ],
)
def test_a_zone_that_is_none_is_refused(zone: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron("* * * * *", zone)

    assert "UTC or an IANA name of the form Area/City" in str(caught.value)
    assert 'Example: timezone="Europe/Berlin".' in str(caught.value)
    assert len(str(caught.value)) < 300


WITHOUT_ZONES = """
import sys, zoneinfo
zoneinfo.reset_tzpath([])
sys.modules["tzdata"] = None
from afterword.errors import MissingExtra
from afterword.schedules.recurrence import Cron
print(Cron("* * * * *").words)
try:
    Cron("* * * * *", "Europe/Berlin")
except MissingExtra as error:
    print(error)
"""


def test_a_computer_without_zones_is_told_what_to_install() -> None:
    """Windows and small containers have no zones. UTC needs none."""
    command = [sys.executable, "-c", WITHOUT_ZONES]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed.splitlines() == [
        "Every minute (UTC)",
        "The time zone 'Europe/Berlin' needs an optional package. Run: pip install \"tzdata\"",
    ]


# ---------------------------------------------------------------------- every so many seconds


@given(st.integers(1, LARGEST), st.floats(0, 5e9))
def test_every_is_a_grid_that_begins_with_1970(period: int, after: float) -> None:
    found = Every(period).next_after(after)

    assert found % period == 0
    assert found - period <= after < found


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 10**9), st.floats(0, 500), st.integers(1, 20))
def test_what_has_passed_is_what_would_have_come(
    period: int, after: int, seconds: float, limit: int
) -> None:
    rule = Every(period)
    expected = between(rule, after, after + seconds)

    assert Passed(len(expected), tuple(expected[-limit:])) == rule.passed(
        after, after + seconds, limit
    )


def test_years_of_seconds_are_computed() -> None:
    assert Passed(2 * 10**9, (2e9 - 1, 2e9)) == Every(1).passed(0, 2e9, limit=2)


@pytest.mark.parametrize(
    ("seconds", "text", "words"),
    [
        (1, "every 1 second", "Every second"),
        (30, "every 30 seconds", "Every 30 seconds"),
        (30.0, "every 30 seconds", "Every 30 seconds"),
        (timedelta(seconds=30), "every 30 seconds", "Every 30 seconds"),
        (60, "every 60 seconds", "Every minute"),
        (5400, "every 5400 seconds", "Every 1 hour 30 minutes"),
        (timedelta(days=7), "every 604800 seconds", "Every 7 days"),
        (timedelta(days=1, seconds=1), "every 86401 seconds", "Every 1 day 1 second"),
    ],
)
def test_every_has_a_text_for_the_store_and_words_for_people(
    seconds: float | timedelta, text: str, words: str
) -> None:
    rule = Every(seconds)

    assert (text, words) == (rule.text, rule.words)
    assert rule == Every(rule.period)


@pytest.mark.parametrize(
    "seconds",
    [
        *(0, -1, 0.5, 1.5, LARGEST + 1, pytest.param(10**5000, id="huge"), True, None, "30", [30]),
        *(float("nan"), float("inf"), timedelta(0), timedelta(days=-1), timedelta(seconds=1.5)),
        timedelta(days=367),
    ],
)
def test_an_interval_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Every(seconds)

    assert "seconds must be a whole number from 1 to 31622400 (366 days)" in str(caught.value)
    assert "Example: @afterword.every(seconds=30)." in str(caught.value)


# ---------------------------------------------------------------------- what users write


def test_an_expression_makes_cron() -> None:
    assert Cron("*/5 * * * *", "Europe/Berlin") == as_rule("*/5 * * * *", timezone="Europe/Berlin")
    assert Cron("*/5 * * * *", "UTC") == as_rule("*/5 * * * *")


def test_seconds_make_every() -> None:
    assert Every(30) == as_rule(seconds=30) == as_rule(seconds=timedelta(seconds=30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a cron expression or seconds, but neither was given"),
        ({"expression": "* * * * *", "seconds": 5}, "but both were given"),
        ({"seconds": 5, "timezone": "Europe/Berlin"}, "A time zone needs a cron expression"),
        ({"expression": "* * * * *", "timezone": ""}, "Area/City that this computer knows"),
        ({"expression": ""}, "cannot be read: it has 0"),
        ({"seconds": 0}, "seconds must be a whole number from 1"),
    ],
)
def test_a_schedule_has_one_rule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_rule(**arguments)


def schedule(rule: Rule | None = None, **options: Any) -> Schedule:
    """Return a schedule, by default once an hour."""
    values = {"name": "sweep", "task": "app:sweep", "rule": rule or Every(HOUR)}
    return Schedule(**{**values, **options})


@pytest.mark.parametrize("name", ["a", "app.sweep", "nightly_2-x", "x" * 200])
def test_a_name_may_be_what_functions_are_called(name: str) -> None:
    assert name == schedule(name=name).name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 201, "../x", "a:b", "a b", "\N{PARTY POPPER}", "a\n", "'; DROP", "\0", "é", None, 5],
)
def test_a_name_that_shells_and_urls_would_take_apart_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="A schedule's name must be 1 to 200 letters"):
        schedule(name=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missed": "both"}, r"missed must be one of \['skip', 'one', 'all'\], but it is 'both'"),
        ({"missed": None}, "missed must be one of"),
        ({"limit": 0}, "limit must be a whole number from 1 to 10000, but it is 0"),
        ({"limit": 1.5}, "limit must be a whole number"),
        ({"limit": True}, "limit must be a whole number"),
        ({"grace": 0}, "grace must be a number of seconds from 1 to 604800, but it is 0"),
        ({"grace": float("nan")}, "grace must be a number of seconds"),
        ({"grace": "60"}, "grace must be a number of seconds"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        schedule(**options)


# ---------------------------------------------------------------------- what is created


def test_nothing_is_created_before_it_is_due() -> None:
    assert Firing((), 7200, 0) == plan_firing(schedule(), 7200, 7199.9)


@pytest.mark.parametrize("now", [7200, 7201, 7260])
@pytest.mark.parametrize("missed", ["skip", "one", "all"])
def test_an_occurrence_on_time_is_created_under_each_policy(missed: Missed, now: float) -> None:
    firing = plan_firing(schedule(missed=missed), 7200, now)

    assert Firing((7200,), 10800, 0) == firing


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", ()), ("one", (5 * HOUR,)), ("all", (2 * HOUR, 3 * HOUR, 4 * HOUR, 5 * HOUR))],
)
def test_the_policy_decides_about_what_was_missed(
    missed: Missed, expected: tuple[float, ...]
) -> None:
    """No process ran from before 2:00 until 5:30."""
    firing = plan_firing(schedule(missed=missed), 2 * HOUR, 5.5 * HOUR)

    assert Firing(expected, 6 * HOUR, 4) == firing


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", (5 * HOUR,)),
        ("one", (4 * HOUR, 5 * HOUR)),
        ("all", (2 * HOUR, 3 * HOUR, 4 * HOUR, 5 * HOUR)),
    ],
)
def test_what_is_on_time_is_created_beside_what_was_missed(
    missed: Missed, expected: tuple[float, ...]
) -> None:
    """No process ran from before 2:00 until 5:01."""
    firing = plan_firing(schedule(missed=missed), 2 * HOUR, 5 * HOUR + 60)

    assert Firing(expected, 6 * HOUR, 3) == firing


def test_no_more_than_the_limit_is_created_and_the_newest_of_them() -> None:
    firing = plan_firing(schedule(missed="all", limit=3), 2 * HOUR, 9.5 * HOUR)

    assert Firing((7 * HOUR, 8 * HOUR, 9 * HOUR), 10 * HOUR, 8) == firing


def test_the_limit_holds_for_what_is_on_time_too() -> None:
    rule = Every(1)

    firing = plan_firing(schedule(rule, missed="skip", limit=5, grace=3600), 1000, 2000)

    assert Firing((1996, 1997, 1998, 1999, 2000), 2001, 996) == firing


def test_a_process_that_was_down_for_decades_creates_the_latest() -> None:
    firing = plan_firing(schedule(Every(1)), 0, 2e9 + 0.5)

    assert tuple(2e9 - 60 + second for second in range(61)) == firing.occurrences
    assert (2e9 + 1, 2e9 + 1 - 60) == (firing.next_at, firing.missed)


def test_what_was_planned_is_created_although_zones_have_changed() -> None:
    """The cursor was set with other zone data, in which the rule had this time."""
    daily = schedule(Cron("0 8 * * *"))

    firing = plan_firing(daily, at("2026-05-01T07:00Z"), at("2026-05-01T07:00:05Z"))

    assert Firing((at("2026-05-01T07:00Z"),), at("2026-05-01T08:00Z"), 0) == firing


RULES: list[Rule] = [
    Every(1),
    Every(7),
    Every(45),
    Every(3600),
    Cron("* * * * *"),
    Cron("*/7 * * * *", "Australia/Lord_Howe"),
    Cron("*/20 1-3 * * *", "Europe/Berlin"),
    Cron("30 2 * * *", "Europe/Berlin"),
]
SCHEDULES = st.builds(
    schedule,
    rule=st.sampled_from(RULES),
    missed=st.sampled_from(["skip", "one", "all"]),
    limit=st.integers(1, 10),
    grace=st.sampled_from([1, 60, 600, 7200]),
)
BEGIN = at("2026-10-25T00:00Z")  # Berlin's clocks go back within the hour
STEPS = st.one_of(
    st.floats(0, 90),
    st.floats(0, 3 * HOUR),
    st.floats(-2 * HOUR, 0),  # the clock is set back
)


def expected_firing(schedule: Schedule, due_at: float, now: float) -> Firing:
    """Return the expected firing, by the rules in the documentation."""
    upcoming = [due_at, *between(schedule.rule, due_at, now)]
    reached = [each for each in upcoming if each <= now]
    on_time = [each for each in reached[-schedule.limit :] if each >= now - schedule.grace]
    missed = [each for each in reached if each not in on_time]
    chosen = {"skip": [], "one": missed[-1:], "all": missed}[schedule.missed]
    created = (chosen + on_time)[-schedule.limit :]
    next_at = schedule.rule.next_after(now) if reached else due_at
    return Firing(tuple(created), next_at, len(missed))


@settings(deadline=None, max_examples=150)
@given(SCHEDULES, st.floats(0, 4 * HOUR), st.floats(-60, 4 * HOUR))
def test_firing_agrees_with_the_documentation(
    schedule: Schedule, start: float, seconds: float
) -> None:
    due_at = schedule.rule.next_after(BEGIN + start)

    now = due_at + seconds

    assert expected_firing(schedule, due_at, now) == plan_firing(schedule, due_at, now)


@settings(deadline=None, max_examples=200)
@given(SCHEDULES, st.lists(STEPS, max_size=30))
def test_nothing_is_created_twice_whatever_clocks_do(
    schedule: Schedule, steps: list[float]
) -> None:
    """The cursor grows with each firing; created occurrences are due, and in order."""
    created: list[float] = []
    cursor, now = schedule.rule.next_after(BEGIN), BEGIN
    for step in steps:
        now += step
        firing = plan_firing(schedule, cursor, now)

        assert len(firing.occurrences) <= schedule.limit
        assert all(cursor <= each <= now for each in firing.occurrences)
        assert firing.next_at > max(cursor, now) if now >= cursor else firing.next_at == cursor
        created += firing.occurrences
        cursor = firing.next_at

    assert all(earlier < later for earlier, later in pairwise(created))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(RULES), st.lists(st.floats(0, 60), max_size=40))
def test_whoever_looks_in_time_creates_every_occurrence(rule: Rule, steps: list[float]) -> None:
    created: list[float] = []
    cursor, now = rule.next_after(BEGIN), BEGIN
    for step in steps:
        now += step
        firing = plan_firing(schedule(rule, missed="skip", grace=60), cursor, now)
        created += firing.occurrences
        cursor = firing.next_at

    assert between(rule, BEGIN, now) == created


# ---------------------------------------------------------------------- ids


@given(st.text(min_size=1), st.floats(0, NEVER))
def test_the_id_of_an_occurrence_is_a_uuid_of_version_7_and_of_its_time(
    name: str, due: float
) -> None:
    made = uuid.UUID(occurrence_id(name, due))

    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    assert made.int >> 80 == round(due * 1000)
    assert str(made) == occurrence_id(name, due)


def test_the_id_of_an_occurrence_is_the_same_everywhere() -> None:
    """It is the same in every process and release, so no job is made again."""
    assert "015d3ef7-9800-70c5-82b2-f2aff3d2e83a" == occurrence_id("sweep", 1_500_000_000)


def test_ids_differ_by_schedule_and_by_occurrence() -> None:
    pairs = [(name, float(due)) for name in ("a", "b", "1 a") for due in range(1000)]
    ids = {occurrence_id(name, due) for name, due in pairs}

    assert len(pairs) == len(ids)


def test_ids_of_occurrences_sort_by_time_among_all_others() -> None:
    assert first_id(NOW) < occurrence_id("sweep", NOW) < first_id(NOW + 0.001)
    assert occurrence_id("sweep", NOW - 10**9) < new_id()
