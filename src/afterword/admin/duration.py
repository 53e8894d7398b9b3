"""Spans of time and instants, as people type and read them."""

import re
from datetime import UTC, datetime, tzinfo

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"([\d.]+)([smhdw])", re.ASCII)
_LONGEST = 100 * 366 * 86_400.0
_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def parse_span(text: str) -> float:
    """Parse a span such as `90s`, `1h30m` or `7d` into seconds.

    >>> parse_span("1h30m")
    5400.0

    Raises:
        ValueError: it is not a span of time.
    """
    spelled = text.strip().lower()
    parts = _PART.findall(spelled) if _SPAN.fullmatch(spelled) else []
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not parts or seconds > _LONGEST:
        raise ValueError(
            "A span of time must be numbers with units, such as 90s, 15m, 1h30m, 7d or 2w, up to"
            f" 100 years, but it is {text!r}."
        )
    return seconds


def parse_since(text: str, now: float) -> float:
    """Parse an instant into seconds since 1970: a span before `now`, or an ISO time (default UTC).

    >>> parse_since("1h", now=7200.0), parse_since("1970-01-02", now=0.0)
    (3600.0, 86400.0)

    Raises:
        ValueError: it is neither.
    """
    try:
        return max(0.0, now - parse_span(text))
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text.strip())
        zoned = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        return max(0.0, zoned.timestamp())
    except (ValueError, OverflowError):
        raise ValueError(
            "WHEN must be a span of time, such as 90s, 15m, 1h or 7d, or an ISO date or time, such"
            f" as 2026-11-22 or 2026-11-22T19:30+01:00, but it is {text!r}."
        ) from None


def show_span(seconds: float) -> str:
    """Format a span in its largest unit, and in the next one if the number is small.

    >>> [show_span(each) for each in (0.4, 42, 61, 5400, 90_000, 864_000)]
    ['0 s', '42 s', '1 min', '1 h 30 min', '1 d 1 h', '10 d']
    """
    seconds = max(0.0, seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole:.0f} {unit}{_finer(index, whole, rest)}"
    return "0 s"


def show_duration(seconds: float) -> str:
    """Format how long something took; short durations with their fractions.

    >>> [show_duration(each) for each in (0.0004, 0.137, 1.26, 42.3, 5400)]
    ['0.4 ms', '137 ms', '1.3 s', '42 s', '1 h 30 min']
    """
    if seconds >= 10:
        return show_span(seconds)
    if seconds >= 1:
        return f"{seconds:.1f} s"
    digits = 0 if seconds >= 0.01 else 1
    return f"{max(0.0, seconds) * 1000:.{digits}f} ms".replace(".0 ms", " ms")


def _finer(index: int, whole: float, rest: float) -> str:
    if index >= 2 or whole >= 10:
        return ""
    size, unit = _UNITS[index + 1]
    return f" {rest // size:.0f} {unit}" if rest >= size else ""


def show_instant(instant: datetime) -> str:
    """Format an instant to the second, in UTC.

    >>> show_instant(datetime(2026, 11, 22, 19, 30, 5, 700_000, tzinfo=UTC))
    '2026-11-22 19:30:05Z'
    """
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def show_in_zone(instant: datetime, zone: tzinfo) -> str:
    """Format an instant to the second, in a time zone.

    >>> from zoneinfo import ZoneInfo
    >>> show_in_zone(datetime(2026, 7, 22, 7, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    '2026-07-22 09:00:00+0200'
    """
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S%z}"
