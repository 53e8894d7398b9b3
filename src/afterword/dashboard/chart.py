"""Charts as SVG, made on the server, each with a title, a summary in words, and tooltips.

Colours come from the style sheet, by the name of the series: `good`, `bad`, `busy`, `later`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from afterword.dashboard.rendering import readable

WIDTH, HEIGHT = 600, 120  # units of the picture, which is as wide as its place
_GAP = 0.2  # of a bar


@dataclass(frozen=True, slots=True)
class Series:
    """Values to be drawn, one for each label.

    Args:
        name: in words, for tooltips and the summary.
        hue: the name of its colour.
    """

    name: str
    hue: str
    values: Sequence[float]


def bars(title: str, labels: Sequence[str], series: Sequence[Series], summary: str) -> Markup:
    """Draw stacked bars, one for each label.

    >>> str(bars("Ends", ["12:00"], [Series("done", "good", [3])], "3 done."))[:32]
    '<figure class="chart"><figcaptio'
    """
    highest = max((sum(values) for values in _columns(series)), default=0)
    drawn = Markup("").join(
        _bar(place, label, series, highest, len(labels)) for place, label in enumerate(labels)
    )
    return _figure(title, summary, drawn, highest)


def lines(
    title: str, labels: Sequence[str], series: Sequence[Series], summary: str, unit: str = ""
) -> Markup:
    """Draw a line for each series; a value that is not a number interrupts it."""
    known = (value for each in series for value in each.values if not math.isnan(value))
    highest = max(known, default=0)
    drawn = Markup("").join(_line(each, highest) for each in series)
    areas = Markup("").join(
        _area(place, label, series, len(labels), unit) for place, label in enumerate(labels)
    )
    return _figure(title, summary, drawn + areas, highest, unit)


def sparkline(values: Sequence[float], words: str, hue: str = "busy") -> Markup:
    """Draw a small line without axes; `words` says the same."""
    highest = max(values, default=0)
    line = _line(Series("", hue, values), highest)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}'
        "</title>{}</svg>"
    ).format(WIDTH, HEIGHT, readable(words), line)


# ---------------------------------------------------------------------- parts


def _figure(title: str, summary: str, drawn: Markup, highest: float, unit: str = "") -> Markup:
    return Markup(
        '<figure class="chart"><figcaption><strong>{}</strong> <span class="top">{}{}</span>'
        '</figcaption><svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}'
        "</title>{}</svg><p>{}</p></figure>"
    ).format(
        readable(title),
        _short(highest),
        unit,
        WIDTH,
        HEIGHT,
        readable(f"{title}. {summary}"),
        drawn,
        readable(summary),
    )


def _bar(place: int, label: str, series: Sequence[Series], highest: float, number: int) -> Markup:
    step = WIDTH / number
    words = ", ".join(f"{_short(each.values[place])} {each.name}" for each in series)
    top = float(HEIGHT)
    parts = Markup("")
    for each in series:
        height = each.values[place] / highest * HEIGHT if highest else 0.0
        top -= height
        if height:
            parts += _rect(each.hue, place * step + step * _GAP / 2, top, step * (1 - _GAP), height)
    # The whole column answers to the pointer, however short its bar is.
    area = _rect("none", place * step, 0.0, step, float(HEIGHT))
    return Markup("<g><title>{}: {}</title>{}{}</g>").format(
        readable(label), readable(words), area, parts
    )


def _area(place: int, label: str, series: Sequence[Series], number: int, unit: str) -> Markup:
    step = WIDTH / number
    known = [each for each in series if not math.isnan(each.values[place])]
    words = ", ".join(f"{each.name} {_short(each.values[place])}{unit}" for each in known)
    area = _rect("none", place * step, 0.0, step, float(HEIGHT))
    return Markup("<g><title>{}: {}</title>{}</g>").format(
        readable(label), readable(words or "no value"), area
    )


def _rect(hue: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup(
        '<rect class="h-{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
    ).format(hue, x, y, width, height)


def _line(series: Series, highest: float) -> Markup:
    step = WIDTH / max(1, len(series.values))
    path, pen_is_down = [], False
    for place, value in enumerate(series.values):
        if math.isnan(value):
            pen_is_down = False
            continue
        y = HEIGHT - (value / highest * (HEIGHT - 4) if highest else 0.0) - 2
        path.append(f"{'L' if pen_is_down else 'M'}{(place + 0.5) * step:.2f} {y:.2f}")
        pen_is_down = True
    return Markup('<path class="h-{}" d="{}" vector-effect="non-scaling-stroke"/>').format(
        series.hue, "".join(path)
    )


def _columns(series: Sequence[Series]) -> Sequence[tuple[float, ...]]:
    return list(zip(*(each.values for each in series), strict=True))


def _short(value: float) -> str:
    """Write a number with few digits.

    >>> _short(12345), _short(0.1234), _short(3.0)
    ('12,345', '0.123', '3')
    """
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
