"""Charts: they are well-formed, fit their picture, and say in words what they show."""

import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from afterword.dashboard.chart import HEIGHT, WIDTH, Series, bars, lines, sparkline

LABELS = ["12:00", "12:01", "12:02"]


def test_bars_are_stacked_and_have_a_tooltip_each() -> None:
    done, failed = Series("done", "good", [3, 0, 1]), Series("failed", "bad", [1, 0, 0])

    figure = ElementTree.fromstring(bars("Ends", LABELS, [done, failed], "4 done, 1 failed."))

    titles = [each.text for each in figure.iter("title")]
    drawn = [each for each in figure.iter("rect") if each.get("class") != "h-none"]
    assert [
        "Ends. 4 done, 1 failed.",
        "12:00: 3 done, 1 failed",
        "12:01: 0 done, 0 failed",
    ] == titles[:3]
    assert ["h-good", "h-bad", "h-good"] == [each.get("class") for each in drawn]
    assert HEIGHT == sum(float(each.get("height", 0)) for each in drawn[:2])


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    figure = ElementTree.fromstring(
        lines("p95", LABELS, [Series("run", "busy", [1.0, math.nan, 0.5])], "half a second", " s")
    )

    (path,) = figure.iter("path")
    assert 2 == path.get("d", "").count("M")
    assert "12:01: no value" in [each.text for each in figure.iter("title")]


def test_text_is_escaped() -> None:
    hostile = "<script>\u202e\x1b"
    for drawn in (
        bars(hostile, [hostile], [Series(hostile, "good", [1])], hostile),
        lines(hostile, [hostile], [Series(hostile, "good", [1])], hostile, " s"),
        sparkline([1], hostile),
    ):
        ElementTree.fromstring(drawn)
        assert "<script>" not in drawn
        assert "\u202e" not in drawn


@given(st.lists(st.floats(0, 1e12), max_size=70))
def test_nothing_leaves_the_picture(values: list[float]) -> None:
    labels = [str(each) for each in range(len(values))]
    chart = bars("a", labels, [Series("b", "good", values)], "c")

    for each in ElementTree.fromstring(chart).iter("rect"):
        left, top, width, height = (float(each.get(n, 0)) for n in ("x", "y", "width", "height"))
        assert -0.1 <= left <= left + width <= WIDTH + 0.1
        assert -0.1 <= top <= top + height <= HEIGHT + 0.1
    ElementTree.fromstring(lines("a", labels, [Series("b", "good", values)], "c"))
    ElementTree.fromstring(sparkline(values, "c"))
