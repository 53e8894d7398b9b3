"""Charts: they are well-formed, fit their picture, and have a description in words."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterword.admin.duration import show_duration
from afterword.dashboard.chart import HEIGHT, WIDTH, Series, bars, lines, sparkline

LABELS = ["12:00", "12:01", "12:02"]
BAR = re.compile(r"M([\d.]+) ([\d.]+)v([\d.]+)h([\d.]+)v-[\d.]+z")


def boxes(path: str) -> list[tuple[float, ...]]:
    """Return left, top, height and width of each bar of a series."""
    return [tuple(map(float, found)) for found in BAR.findall(path)]


def test_bars_are_stacked_and_have_a_tooltip_each() -> None:
    done, failed = Series("done", "good", [3, 0, 1], "4"), Series("failed", "bad", [1, 0, 0], "1")

    figure = ElementTree.fromstring(bars("Ends", LABELS, [done, failed]))

    titles = [each.text for each in figure.iter("title")]
    below, above = (boxes(each.get("d", "")) for each in figure.iter("path"))
    assert [
        "Ends: done 4, failed 1",
        "12:00: done 3, failed 1",
        "12:01: done 0, failed 0",
    ] == titles[:3]
    assert "Ends max 4" == "".join(next(figure.iter("figcaption")).itertext())
    assert (2, 1) == (len(below), len(above))
    assert HEIGHT == pytest.approx(below[0][2] + above[0][2], abs=0.2)
    assert below[0][1] == pytest.approx(above[0][1] + above[0][2], abs=0.2)
    assert ["done 4", "failed 1"] == ["".join(each.itertext()) for each in figure.iter("li")]


def test_one_failure_among_thousands_is_seen() -> None:
    figure = ElementTree.fromstring(
        bars("Ends", ["12:00"], [Series("done", "good", [90_000]), Series("failed", "bad", [1])])
    )

    _, failed = (boxes(each.get("d", "")) for each in figure.iter("path"))
    assert failed[0][2] >= 3


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    figure = ElementTree.fromstring(
        lines("p95", LABELS, [Series("run", "busy", [1.0, math.nan, 0.5])], show_duration)
    )

    (path,) = figure.iter("path")
    assert 2 == path.get("d", "").count("M")
    titles = [each.text for each in figure.iter("title")]
    assert ["12:00: run 1.0 s", "12:01: none ended", "12:02: run 500 ms"] == titles[1:]


def test_text_is_escaped() -> None:
    hostile = "<script>\u202e\x1b"
    for drawn in (
        bars(hostile, [hostile], [Series(hostile, "good", [1], hostile)]),
        lines(hostile, [hostile], [Series(hostile, "good", [1], hostile)], show_duration),
        sparkline([1], hostile),
    ):
        ElementTree.fromstring(drawn)
        assert "<script>" not in drawn
        assert "\u202e" not in drawn


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(0, 1e12), max_size=70))
def test_nothing_leaves_the_picture(values: list[float]) -> None:
    labels = [str(each) for each in range(len(values))]
    both = [Series("b", "good", values), Series("c", "bad", values[::-1])]

    for path in ElementTree.fromstring(bars("a", labels, both)).iter("path"):
        for left, top, height, width in boxes(path.get("d", "")):
            assert -0.1 <= left <= left + width <= WIDTH + 0.1
            assert -0.1 <= top <= top + height <= HEIGHT + 0.1
    ElementTree.fromstring(lines("a", labels, both, show_duration))
    ElementTree.fromstring(sparkline(values, "c"))
