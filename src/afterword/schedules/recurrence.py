"""Recurrence rules: intervals and cron expressions.

An occurrence is an instant, in whole seconds since 1970 UTC. Wall clocks skip times or show them
twice when they change, usually twice a year. `Cron` handles both as Debian's cron does:

- A rule that names its hours and minutes ("30 2 * * *") means work to be done once a day. A skipped
  time occurs at the end of the gap; a repeated time occurs once, the first time.
- A rule whose minutes or hours begin with a star ("*/5 * * * *", "0 */2 * * *") follows the clock:
  a skipped time does not occur, and a repeated time occurs twice.

cronsim parses the expressions, matches days and explains rules in words. It converts days to
instants in steps of an hour, and so loses occurrences where clocks change by half an hour
(Australia/Lord_Howe). That part is done here, a day at a time.
"""

import functools
import re
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol

from cronsim import CronSim, CronSimError

from afterword.errors import AfterwordError, ConfigurationError, MissingExtra, safe_repr
from afterword.model.checks import is_number

NEVER = 253_402_300_799.0  # the last second of the year 9999, which every store can hold
_SOME_TIME = 1_767_225_600.0  # the start of 2026; a rule must occur after it
_TOO_LATE = NEVER - 100 * 366 * 86400  # after this, the calendar ends before a search does
_DAY = timedelta(days=1)
_AHEAD = 50 * 366  # days; within 40 years each date meets each day of the week
_BACK = 10 * 366  # days; older missed occurrences are not counted
_MAX_SECONDS = 366 * 86400
_MAX_CHARACTERS = 256  # a list of all sixty minutes has 169
# "right/..." counts leap seconds, which no clock here does.
_ZONE = re.compile(r"(?!posix/|right/)[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){1,2}")
_EVERY = re.compile(r"every ([0-9]{1,9}) seconds?")
_EXAMPLE = '@afterword.every("*/5 * * * *") or @afterword.every(seconds=30)'


@dataclass(frozen=True, slots=True)
class Passed:
    """The occurrences in a period: their number, and the newest ones in order."""

    count: int
    newest: tuple[float, ...]


class Rule(Protocol):
    """A recurrence rule: `Cron` or `Every`. Times are seconds since 1970 UTC."""

    @property
    def text(self) -> str:
        """The rule as the store keeps it; a different text is a different rule."""

    @property
    def words(self) -> str:
        """The rule in words, for people."""

    def next_after(self, at: float) -> float:
        """Return the first occurrence after `at`, which is later than `at`; `NEVER` if none is."""

    def passed(self, after: float, until: float, limit: int) -> Passed:
        """Return the occurrences after `after` up to and including `until`; the newest `limit`."""


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, aligned to 1970 so that all processes agree on it.

    >>> rule = Every(300)
    >>> rule.next_after(1000), rule.next_after(1200), rule.words
    (1200.0, 1500.0, 'Every 5 minutes')

    Args:
        seconds: from 1 second to 366 days, in whole seconds; a number or a timedelta.

    Raises:
        ConfigurationError: it is something else.
    """

    seconds: InitVar[float | timedelta]
    period: int = field(init=False)
    text: str = field(init=False, repr=False)
    words: str = field(init=False, repr=False, compare=False)

    def __post_init__(self, seconds: float | timedelta) -> None:
        """Validate the period."""
        period = _whole_seconds(seconds)
        object.__setattr__(self, "period", period)
        object.__setattr__(self, "text", f"every {period} second{'s' * (period > 1)}")
        object.__setattr__(self, "words", f"Every {_in_units(period)}")

    def next_after(self, at: float) -> float:
        """Return the next multiple of the period."""
        return float((at // self.period + 1) * self.period)

    def passed(self, after: float, until: float, limit: int) -> Passed:
        """Compute the occurrences without iterating over the period."""
        first, last = int(after // self.period) + 1, int(until // self.period)
        newest = range(max(first, last - limit + 1), last + 1)
        return Passed(max(last - first + 1, 0), tuple(float(each * self.period) for each in newest))


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields, in the local time of a time zone.

    >>> rule = Cron("*/5 9-17 * * mon-fri", "Europe/Berlin")
    >>> rule.text
    '*/5 9-17 * * MON-FRI Europe/Berlin'
    >>> rule.words
    'Every fifth minute from 09:00 through 17:59 on Monday through Friday (Europe/Berlin)'

    When clocks change, "30 2 * * *" still occurs once a day: at the end of the gap if 2:30 is
    skipped, and at the first 2:30 if there are two. "*/5 * * * *" and "0 */2 * * *", whose minutes
    or hours begin with a star, occur whenever the clock shows such a time: not in a gap, and twice
    in an hour that is repeated.

    Args:
        expression: minute, hour, day of month, month, day of week; names (MON, JAN), lists, ranges
            and steps; L and LW as day of month, 5L and MON#2 as day of week. If neither day field
            begins with a star, a day must match one of them; otherwise it must match both.
        timezone: an IANA name, Area/City. Default: "UTC".

    Raises:
        ConfigurationError: the expression is invalid or never occurs, or there is no such zone.
        MissingExtra: this computer has no time zone data.
    """

    expression: str
    timezone: str = "UTC"
    text: str = field(init=False, repr=False)
    words: str = field(init=False, repr=False, compare=False)
    _cron: CronSim = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)
    _minutes: Sequence[int] = field(init=False, repr=False, compare=False)
    _on: Callable[[date], tuple[float, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the expression and load the zone."""
        cron, zone = _parsed(self.expression), _zone(self.timezone)
        minutes = sorted(60 * hour + minute for hour in cron.hours for minute in cron.minutes)
        object.__setattr__(self, "_cron", cron)
        object.__setattr__(self, "_zone", zone)
        object.__setattr__(self, "_minutes", minutes)
        # A request for one occurrence is usually followed by one for the next on the same day.
        object.__setattr__(self, "_on", functools.lru_cache(maxsize=4)(self._occurrences))
        object.__setattr__(self, "text", f"{' '.join(self._fields())} {self.timezone}")
        object.__setattr__(self, "words", f"{cron.explain()} ({self.timezone})")
        if self.next_after(_SOME_TIME) == NEVER:
            raise _never(self.expression)

    def next_after(self, at: float) -> float:
        """Return the first occurrence after `at`; `NEVER` if there is none within 50 years."""
        if at >= _TOO_LATE:
            return NEVER
        day = self._day(at) - _DAY
        for _ in range(_AHEAD):
            if (found := self._first(day, at)) < NEVER:
                # Where clocks go back over midnight, the next day begins before this one has ended.
                return min(found, self._first(day + _DAY, at))
            day += _DAY
        return NEVER

    def passed(self, after: float, until: float, limit: int) -> Passed:
        """Count the occurrences a day at a time, at most ten years back."""
        last = self._day(until) + _DAY
        days = (last - self._day(after) + _DAY).days
        count, newest, later, enough = 0, list[float](), tuple[float, ...](), False
        for back in range(min(days, _BACK) + 1):
            found = self._within(last - back * _DAY, after, until)
            # Where clocks skip midnight, two days have the occurrence at the end of the gap.
            found = found[:-1] if found and found[-1:] == later[:1] else found
            count += len(found)
            if not enough:
                # Take one more day than needed: where clocks go back over midnight, days overlap.
                enough = len(newest) >= limit
                newest += found
            later = found
        return Passed(count, tuple(sorted(newest)[-limit:]))

    def _day(self, at: float) -> date:
        return datetime.fromtimestamp(at, self._zone).date()

    def _first(self, day: date, at: float) -> float:
        found = self._on(day)
        index = bisect_right(found, at)
        return found[index] if index < len(found) else NEVER

    def _within(self, day: date, after: float, until: float) -> tuple[float, ...]:
        found = self._on(day)
        return found[bisect_right(found, after) : bisect_right(found, until)]

    def _occurrences(self, day: date) -> tuple[float, ...]:
        """Return the occurrences of a calendar day, in order."""
        if day.month not in self._cron.months or not self._cron.match_day(day):
            return ()
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)
        # Where clocks go back over midnight, the later one of the two.
        end = (midnight + _DAY).replace(fold=1)
        if midnight.utcoffset() == end.utcoffset():
            start = midnight.timestamp()
            return tuple(start + 60 * minute for minute in self._minutes)
        shown = (midnight + timedelta(minutes=minute) for minute in self._minutes)
        return tuple(sorted({at for wall in shown for at in self._instants(wall)}))

    def _instants(self, wall: datetime) -> Iterator[float]:
        """Yield the instants of a wall clock time, on a day on which clocks change."""
        if self._follows_the_clock():
            folds = (wall.replace(fold=fold) for fold in (0, 1))
            yield from (each.timestamp() for each in folds if _exists(each))
        else:
            yield wall.timestamp() if _exists(wall) else _end_of_gap(wall)

    def _follows_the_clock(self) -> bool:
        minute, hour, *_ = self._fields()
        return minute.startswith("*") or hour.startswith("*")

    def _fields(self) -> list[str]:
        return self.expression.upper().split()


def _exists(wall: datetime) -> bool:
    """Return True if clocks show this time; they skip some when they are set forward."""
    return datetime.fromtimestamp(wall.timestamp(), wall.tzinfo) == wall


def _end_of_gap(wall: datetime) -> float:
    """Return the instant at which the clock was set forward past this time."""
    after = wall.replace(fold=1)  # in a gap, fold=1 takes the offset after it (PEP 495)
    seconds = range(int(after.timestamp()), int(wall.timestamp()))

    def is_after(at: int) -> bool:
        return datetime.fromtimestamp(at, wall.tzinfo).utcoffset() == after.utcoffset()

    return float(seconds[0] + bisect_left(seconds, True, key=is_after))


# ---------------------------------------------------------------------- what users write


def zone_of(text: str) -> tzinfo:
    """Return the time zone of a rule as the store keeps it; UTC if it names none that exists here.

    >>> zone_of("0 9 * * * Europe/Berlin").key, str(zone_of("every 30 seconds"))
    ('Europe/Berlin', 'UTC')
    """
    try:
        return _zone(text.rsplit(maxsplit=1)[-1])
    except (AfterwordError, IndexError):
        return UTC


@functools.lru_cache(maxsize=256)
def read_rule(text: str) -> Rule | None:
    """Read a rule as the store keeps it; None if this release or this machine does not know it.

    >>> read_rule("0 9 * * * Europe/Berlin").words
    'At 09:00 every day (Europe/Berlin)'
    >>> read_rule("every 30 seconds").words, read_rule("at full moon")
    ('Every 30 seconds', None)
    """
    seconds = _EVERY.fullmatch(text)
    expression, _, zone = text.rpartition(" ")
    try:
        return Every(int(seconds[1])) if seconds else Cron(expression, zone)
    except AfterwordError:
        return None


def as_rule(
    expression: str | None = None,
    *,
    seconds: float | timedelta | None = None,
    timezone: str | None = None,
) -> Rule:
    """Make a rule from the arguments of `@afterword.every(...)`.

    >>> as_rule("0 9 * * *", timezone="Europe/Berlin").words
    'At 09:00 every day (Europe/Berlin)'
    >>> as_rule(seconds=30).words
    'Every 30 seconds'

    Raises:
        ConfigurationError: both or neither were given, or one is invalid.
        MissingExtra: see `Cron`.
    """
    if expression is not None and seconds is None:
        return Cron(expression, "UTC" if timezone is None else timezone)
    if expression is not None or seconds is None:
        given = "neither was" if seconds is None else "both were"
        raise ConfigurationError(
            f"A schedule must have either a cron expression or seconds, but {given} given."
            f" Example: {_EXAMPLE}."
        )
    if timezone is not None:
        raise ConfigurationError(
            "A time zone needs a cron expression, because an interval is the same in all zones, but"
            f" timezone is {safe_repr(timezone)} and seconds is {safe_repr(seconds)}."
            " Leave timezone out."
        )
    return Every(seconds)


def _whole_seconds(value: object) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds) or not 1 <= seconds <= _MAX_SECONDS or seconds % 1:
        raise ConfigurationError(
            f"seconds must be a whole number from 1 to {_MAX_SECONDS} (366 days), or such a"
            f" timedelta, but it is {safe_repr(value)}. Example: @afterword.every(seconds=30)."
        )
    return int(seconds)


def _in_units(seconds: int) -> str:
    sizes = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
    parts = []
    for unit, size in sizes.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'s' * (count > 1)}")
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)


def _parsed(expression: object) -> CronSim:
    if isinstance(expression, int | float | timedelta):
        raise ConfigurationError(
            "The first argument of every() must be a cron expression. Pass an interval by name.\n"
            f"    @afterword.every({safe_repr(expression)})  # incorrect!\n"
            f"    @afterword.every(seconds={safe_repr(expression)})  # correct!"
        )
    if callable(expression):
        raise ConfigurationError(
            "A schedule needs a cron expression or an interval before its function.\n"
            "    @afterword.every  # incorrect!\n"
            "    @afterword.every(seconds=30)  # correct!"
        )
    if not isinstance(expression, str) or len(expression) > _MAX_CHARACTERS:
        raise _unreadable(expression, f"it is not text of up to {_MAX_CHARACTERS} characters")
    if len(fields := expression.split()) != 5:
        raise _unreadable(expression, f"it has {len(fields)}")
    try:
        return CronSim(expression, datetime.fromtimestamp(_SOME_TIME, UTC))
    except CronSimError as error:
        # cronsim has the same message for the day 32 and for the 31st of February.
        impossible = ", or one that none of its months has" if "day-of-month" in str(error) else ""
        raise _unreadable(expression, f"it has a {str(error).lower()}{impossible}") from error


def _unreadable(expression: object, why: str) -> ConfigurationError:
    return ConfigurationError(
        "A cron expression must have five fields (minute, hour, day of month, month, day of week;"
        f" no seconds), but {safe_repr(expression)} cannot be read: {why}. Example: {_EXAMPLE}."
    )


def _never(expression: str) -> ConfigurationError:
    return ConfigurationError(
        f"A schedule must occur within 50 years, but {safe_repr(expression)} does not."
        f" Example: {_EXAMPLE}."
    )


def _zone(name: object) -> tzinfo:
    if name == "UTC":
        return UTC
    if isinstance(name, str) and _ZONE.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            if not zoneinfo.available_timezones():
                raise MissingExtra(f"The time zone {name!r}", "tzdata") from error
    # The old names (EST5EDT, Japan) are refused, because some systems do not have them.
    raise ConfigurationError(
        "A time zone must be UTC or an IANA name of the form Area/City that this computer knows,"
        f' but it is {safe_repr(name)}. Example: timezone="Europe/Berlin".'
    )
