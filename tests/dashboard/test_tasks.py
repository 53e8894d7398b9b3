"""The screen of tasks, over both stores."""

import re

import httpx
import pytest

from afterword import task
from afterword.dashboard import tasks
from afterword.model.outcome import Cancelled, Completed, Failed
from afterword.store.protocol import Store
from tests.dashboard.conftest import Site, site_of
from tests.dashboard.population import HOSTILE, Population, hostile, ordinary
from tests.dashboard.test_failures import text_of


@task(queue="mail", retries=5, timeout=30, limit=1, rate="100/m", key=lambda to: to)
def send_letter(to: str) -> None:
    """Send a letter
    to a customer.

    What stands here is for developers.
    """


LETTER = f"{__name__}:send_letter"


def rows(answer: httpx.Response) -> list[str]:
    """The words of each task."""
    found = re.findall(r'<tr id="t-\d+">(.*?)</tr>', answer.text, re.S)
    found = [re.sub(r"<title>.*?</title>", "", row) for row in found]
    return [re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", row)).strip() for row in found]


def test_tasks_show_what_became_of_their_jobs(site: Site) -> None:
    people = Population(site.store)
    for outcome in (Completed(), Completed(), Completed(), Failed("no"), Cancelled("no")):
        people.end(outcome)
    people.start("shop.images:resize")
    people.add("shop.images:resize")

    resized, packed = rows(site.get("/tasks"))

    durations = r"[\d.]+ m?s p95 [\d.]+ m?s"
    pattern = rf"shop.orders: pack_order – 3 1 cancelled 1 25 % {durations} \d+ .* ago"
    assert re.fullmatch(pattern, packed), packed
    assert "shop.images: resize 1 queued 1 running – 0 0 – –" == resized
    assert "5 jobs ended in 24h" in site.get("/tasks").text
    assert "afterword tasks --since 24h" in text_of(site.get("/tasks"))


def test_only_the_newest_queued_jobs_are_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "COUNT_LIMIT", 2)
    people = Population(site.store)
    for name in "aab":
        people.add(f"shop:{name}")

    assert ["shop: a 1+ queued", "shop: b 1+ queued"] == [
        row.partition(" –")[0] for row in rows(site.get("/tasks"))
    ]
    assert "Of the queued jobs, the newest 2 were counted." in text_of(site.get("/tasks"))


def test_a_range_is_chosen(site: Site) -> None:
    ordinary(site.store)

    assert "afterword tasks --since 7d" in text_of(site.get("/tasks?range=7d"))
    assert 400 == site.get("/tasks?range=1y").status_code


def test_tasks_of_the_application_show_their_options(store: Store) -> None:
    Population(store).add("shop.gone:f")

    letter, gone = rows(site_of(store, tasks=lambda: [LETTER]).get("/tasks"))[::-1]

    options = "queue mail 5 retries timeout 30 s"
    limits = "1 job at a time for each key rate 100/m for each key"
    assert f"Send a letter to a customer. {options} {limits}" in letter
    assert "developers" not in letter
    assert "shop.gone: f 1 queued – 0 0 – –" == gone


def test_without_an_application_no_code_is_looked_at(store: Store) -> None:
    """Also if the process has a function of that name."""
    Population(store).add(LETTER)

    assert "Send a letter" not in site_of(store).get("/tasks").text


def test_many_tasks_are_listed_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_TASKS", 2)
    people = Population(site.store)
    for name in "abc":
        people.add(f"shop:{name}")
    first = site.get("/tasks?range=1h")
    (older,) = re.findall(r'rel="next" href="[^"]*(/tasks[^"]*)"', first.text)

    assert 2 == len(rows(first))
    (last,) = rows(site.get(older.replace("&amp;", "&")))
    assert last.startswith("shop: c ")


def test_an_empty_store_has_no_tasks(site: Site) -> None:
    assert "No task has unfinished jobs" in text_of(site.get("/tasks"))


def test_text_of_tasks_is_never_markup(site: Site) -> None:
    hostile(site.store)

    page = site.get("/tasks").text

    assert [] == [each for each in HOSTILE if "<" in each and each in page]
    assert "\u202e" not in page
