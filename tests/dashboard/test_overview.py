"""The overview: tiles, charts of a range of time, and their numbers, on both stores."""

import itertools
import re
import time

import pytest

from afterword.admin.activity import RANGES, activity, failed_in_a_day
from afterword.model.job import JobState
from afterword.model.outcome import Failed
from afterword.store.protocol import Store
from tests.dashboard.conftest import ROOT, Site
from tests.dashboard.population import Population, ordinary
from tests.dashboard.test_screens import text_of


def test_tiles_show_what_failed_waited_and_ran(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/"))

    assert "Failed in 24 h4 of 2 tasks" in text
    assert re.search(r"Wait, p95[\d.]+ m?s run, p95: [\d.]+ m?s", text)
    assert "Per minute" in text


@pytest.mark.parametrize("name", RANGES)
def test_each_range_is_a_link_and_draws_what_ended(site: Site, name: str) -> None:
    ordinary(site.store)

    answer = site.get(f"/?range={name}")
    text = text_of(answer)

    titles = re.findall(r"<figcaption><strong>([^<]*)", answer.text)
    assert ["Run", "Wait"] == titles[1:]
    assert titles[0].startswith("Ended jobs, per ")
    current = re.findall(r'<a href="([^"]*)" aria-current="true"', answer.text)
    assert [f"{ROOT}/" if name == "1h" else f"{ROOT}/?range={name}"] == current
    assert f"Last {RANGES[name].words}" in text
    assert "completed 13" in text
    assert "failed 4" in text
    assert "cancelled 1" in text
    assert (
        f"3 jobs ended in the last {RANGES[name].words}" not in text
    )  # it is a title in a picture
    assert f"4 jobs ended in the last {RANGES[name].words}" in answer.text


def test_another_range_is_a_mistake(site: Site) -> None:
    answer = site.get("/?range=2h")

    assert 400 == answer.status_code
    assert "range must be one of 1h, 6h, 24h, 7d" in answer.text


def test_charts_of_a_store_where_nothing_ended(site: Site) -> None:
    Population(site.store).add()

    text = text_of(site.get("/"))

    assert "completed 0" in text
    assert "p95 –" in text


def test_rising_failures_are_a_note(site: Site) -> None:
    people = Population(site.store)
    for _ in range(12):
        people.end(Failed("ValueError: no"))

    assert "failures are rising: 12 in the last hour" in text_of(site.get("/"))


@pytest.mark.parametrize("name", RANGES)
def test_a_range_has_all_its_periods(store: Store, name: str) -> None:
    ordinary(store)
    now = time.time()

    found = activity(store, RANGES[name], now)

    starts = [each.start for each in found.periods]
    assert RANGES[name].seconds == len(starts) * RANGES[name].step
    assert starts[-1] <= now < starts[-1] + RANGES[name].step
    assert {RANGES[name].step} == {b - a for a, b in itertools.pairwise(starts)}
    assert (18, 4) == (sum(each.ended for each in found.periods), found.jobs(JobState.FAILED))
    assert {"default": 14, "mail": 4} == {
        queue: sum(values) for queue, values in found.by_queue().items()
    }


def test_failures_of_a_day_are_counted_by_task(store: Store) -> None:
    ordinary(store)

    failed = failed_in_a_day(store, time.time())

    assert (4, 2) == (failed.jobs, failed.tasks)
