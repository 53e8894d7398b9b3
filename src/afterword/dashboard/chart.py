"""Charts as SVG, made on the server, each with a title, a summary in words, and tooltips.

Colours come from the style sheet, by the name of the series: `good`, `bad`, `busy`, `later`, and
`quiet`, or `busy faint` for a line behind another one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from afterword.dashboard.rendering import readable

WIDTH, HEIGHT = 600, 120  # units of the picture, which is as wide as its place
_GAP = 0.2  # of a bar
_LEAST = 3.0  # units of the height of a bar: one failure among thousands of jobs is seen
_MARGIN = 3.0  # units above and below a line

Write = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """Values to be drawn, one for each label.

    Args:
        name: in words, for tooltips and the legend.
        hue: the name of its colour.
        whole: its value for the whole range, in words, for the legend.
    """

    name: str
    hue: str
    values: Sequence[float]
    whole: str = ""


def whole_number(value: float) -> str:
    """Write a number of things."""
    return f"{value:,.0f}"


def bars(
    title: str, labels: Sequence[str], series: Sequence[Series], write: Write = whole_number
) -> Markup:
    """Draw stacked bars, one for each label.

    >>> str(bars("Ends", ["12:00"], [Series("done", "good", [3])]))[:32]
    '<figure class="chart"><figcaptio'
    """
    highest = max((sum(column) for column in _columns(series)), default=0)
    below = [0.0] * len(labels)
    drawn = Markup("")
    for each in series:
        drawn += _stacked(each, below, highest, len(series))
    return _figure(title, labels, series, drawn, highest, write)


def lines(title: str, labels: Sequence[str], series: Sequence[Series], write: Write) -> Markup:
    """Draw a line for each series; a value that is not a number interrupts it."""
    highest = max((value for each in series for value in _known(each.values)), default=0)
    drawn = Markup("").join(_line(each.hue, each.values, highest) for each in reversed(series))
    return _figure(title, labels, series, drawn, highest, write)


def sparkline(values: Sequence[float], words: str, hue: str = "busy") -> Markup:
    """Draw a small line without axes; `words` says the same."""
    line = _line(hue, values, max(values, default=0))
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}'
        "</title>{}</svg>"
    ).format(WIDTH, HEIGHT, readable(words), line)


# ---------------------------------------------------------------------- parts


def _figure(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    drawn: Markup,
    highest: float,
    write: Write,
) -> Markup:
    summary = ", ".join(f"{each.name} {each.whole}".strip() for each in series)
    columns = Markup("").join(
        _column(place, label, series, len(labels), write) for place, label in enumerate(labels)
    )
    return Markup(
        '<figure class="chart"><figcaption><strong>{}</strong> <span class="top">{}</span>'
        '</figcaption><svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}'
        "</title>{}{}</svg>{}</figure>"
    ).format(
        readable(title),
        f"max {write(highest)}" if highest else "",
        WIDTH,
        HEIGHT,
        readable(f"{title}: {summary}"),
        drawn,
        columns,
        _legend(series),
    )


def _legend(series: Sequence[Series]) -> Markup:
    items = Markup("").join(
        Markup('<li class="{}">{} <strong>{}</strong></li>').format(
            _classes(each.hue), readable(each.name), readable(each.whole)
        )
        for each in series
    )
    return Markup('<ul class="legend">{}</ul>').format(items)


def _column(place: int, label: str, series: Sequence[Series], number: int, write: Write) -> Markup:
    """Make the area that shows a tooltip: the whole column, even above a short bar."""
    step = WIDTH / number
    known = [each for each in series if not math.isnan(each.values[place])]
    words = ", ".join(f"{each.name} {write(each.values[place])}" for each in known)
    title = escape(readable(f"{label}: {words or 'none ended'}"))
    # There are hundreds of them: this takes a tenth of the time of `Markup.format`.
    shape = f'<rect x="{place * step:.1f}" width="{step:.1f}" height="{HEIGHT}">'
    return Markup(f"{shape}<title>{title}</title></rect>")  # noqa: S704 - it is escaped


def _stacked(series: Series, below: list[float], highest: float, layers: int) -> Markup:
    """Draw the bars of a series on top of those below; their heights are added to `below`."""
    step = WIDTH / max(1, len(series.values))
    room = HEIGHT - _LEAST * layers
    path = ""
    for place, value in enumerate(series.values):
        if value:
            height = _LEAST + value / highest * room
            below[place] += height
            left, top, width = (place + _GAP / 2) * step, HEIGHT - below[place], step * (1 - _GAP)
            path += f"M{left:.1f} {top:.1f}v{height:.1f}h{width:.1f}v-{height:.1f}z"
    return Markup('<path class="{} solid" d="{}"/>').format(_classes(series.hue), path)


def _line(hue: str, values: Sequence[float], highest: float) -> Markup:
    step = WIDTH / max(1, len(values))
    room = HEIGHT - 2 * _MARGIN
    path, pen_is_down = "", False
    for place, value in enumerate(values):
        if math.isnan(value):
            pen_is_down = False
            continue
        y = HEIGHT - _MARGIN - (value / highest * room if highest else 0.0)
        # A point of its own becomes a dot: the ends of lines are round.
        path += f"{'L' if pen_is_down else 'M'}{(place + 0.5) * step:.1f} {y:.1f}"
        path += "" if pen_is_down else "h0"
        pen_is_down = True
    return Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>').format(
        _classes(hue), path
    )


def _classes(hue: str) -> str:
    return f"h-{hue}"


def _known(values: Sequence[float]) -> Sequence[float]:
    return [value for value in values if not math.isnan(value)]


def _columns(series: Sequence[Series]) -> Sequence[tuple[float, ...]]:
    return list(zip(*(each.values for each in series), strict=True))
