"""The charts of the overview: ended jobs, and how long they waited and ran."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from markupsafe import Markup

from afterword.admin.activity import RANGES, Activity, Period, Range
from afterword.admin.duration import show_duration, show_span
from afterword.admin.words import many
from afterword.dashboard.chart import Series, bars, lines, sparkline, whole_number
from afterword.errors import ConfigurationError
from afterword.model.counters import Histogram
from afterword.model.job import JobState

DEFAULT = "1h"
_HUES = {
    JobState.COMPLETED: "good",
    JobState.FAILED: "bad",
    JobState.CANCELLED: "quiet",
    JobState.HANDED_OVER: "later",
}
_ALWAYS = ("good", "bad")  # are drawn also where nothing has ended so
Durations = Callable[[Period | Activity], Histogram]


def range_of(name: str) -> Range:
    """Return the range with this name; that of an hour if none is given.

    Raises:
        ConfigurationError: there is no such range.
    """
    if name and name not in RANGES:
        raise ConfigurationError(f"range must be one of {', '.join(RANGES)}, but it is {name!r}.")
    return RANGES[name or DEFAULT]


def charts(activity: Activity, now: float) -> list[Markup]:
    """Draw the charts of a range."""
    labels = [_label(each, now) for each in activity.periods]
    each_step = _in_words(activity.range.step)
    ended = [_ended(activity, state) for state in _HUES]
    ended = [each for each in ended if each.hue in _ALWAYS or any(each.values)]
    ran = _quantiles(activity, lambda each: each.ran, "busy")
    waited = _quantiles(activity, lambda each: each.waited, "later")
    return [
        bars(f"Ended jobs, per {each_step}", labels, ended),
        lines("Run", labels, ran, show_duration),
        lines("Wait", labels, waited, show_duration),
    ]


def sparklines(activity: Activity) -> Mapping[str, Markup]:
    """Draw the number of ended jobs of each queue that had some."""
    return {
        queue: sparkline(
            values, f"{many(sum(values), 'job')} ended in the last {activity.range.words}"
        )
        for queue, values in activity.by_queue().items()
    }


def quantile(durations: Histogram, part: float) -> str:
    """Write a quantile of durations; a dash if there are none."""
    seconds = durations.quantile(part)
    return "–" if seconds is None else show_duration(seconds)


def _ended(activity: Activity, state: JobState) -> Series:
    values = [each.jobs(state) for each in activity.periods]
    name = state.value.replace("_", " ")
    return Series(name, _HUES[state], values, whole_number(sum(values)))


def _quantiles(activity: Activity, durations: Durations, hue: str) -> list[Series]:
    return [
        Series(
            name,
            f"{hue}{faint}",
            [_number(durations(each).quantile(part)) for each in activity.periods],
            quantile(durations(activity), part),
        )
        for name, part, faint in (("p95", 0.95, ""), ("p50", 0.5, " faint"))
    ]


def _number(seconds: float | None) -> float:
    return math.nan if seconds is None else seconds


def _label(period: Period, now: float) -> str:
    start = datetime.fromtimestamp(period.start, UTC)
    return f"{start:%H:%M} UTC, {show_span(now - period.start)} ago"


def _in_words(step: int) -> str:
    """Write the length of a period, after "per".

    >>> _in_words(60), _in_words(1200), _in_words(7200)
    ('minute', '20 minutes', '2 hours')
    """
    number, unit = (step // 3600, "hour") if step >= 3600 else (step // 60, "minute")
    return unit if number == 1 else many(number, unit)
