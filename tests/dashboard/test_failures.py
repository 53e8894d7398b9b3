"""The screen of failures, on both stores."""

import re
from html import unescape
from urllib.parse import urlencode

import httpx
import pytest

from afterword.admin import found
from afterword.dashboard import failures
from afterword.model.job import JobState
from afterword.model.outcome import Failed
from afterword.store.protocol import Putback, Store
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import HOSTILE, Population, hostile, ordinary
from tests.dashboard.test_queues import followed
from tests.dashboard.test_screens import text_of as escaped_text_of

CONNECTION = "httpx.ConnectError: [Errno #] Connection refused by mail.example.org:#"


def links(site: Site, path: str, name: str) -> list[str]:
    """Return the paths, below the root, of links whose text begins with this."""
    every = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', site.get(path).text, re.S)
    hrefs = [href for href, text in every if re.sub("<[^>]*>", "", text).strip().startswith(name)]
    return [unescape(each).removeprefix(ROOT) for each in hrefs]


def text_of(answer: httpx.Response) -> str:
    return unescape(escaped_text_of(answer))


def failed(store: Store) -> int:
    return store.count()[JobState.FAILED]


def test_failures_are_shown_in_groups(site: Site) -> None:
    ordinary(site.store)

    shown = text_of(site.get("/failures"))

    assert re.search(rf"3 shop.mail:send_receipt {re.escape(CONNECTION)} latest: \w{{8}} ", shown)
    assert "1 shop.orders:ship ValueError: order # has no address latest:" in shown
    assert "3 jobs in the last 24 hours" in site.get("/failures").text
    assert "afterword failures" in shown


def test_a_store_without_failures_says_so(site: Site) -> None:
    assert "No job has failed" in text_of(site.get("/failures"))
    assert "No failed job matches" in text_of(site.get("/failures?q=task:a:b"))


def test_a_group_leads_to_its_jobs(site: Site) -> None:
    ordinary(site.store)
    path = links(site, "/failures", "shop.mail:send_receipt")[0]

    assert 3 == len(re.findall(r'<tr id="j-', site.get(path).text))
    named = "/failures?q=group:%22ValueError: order %23 has no address%22"
    assert 1 == len(links(site, named, "Retry"))


def test_a_group_is_retried_after_a_look(site: Site) -> None:
    """The page before the change shows the number and the command, and links to the search."""
    ordinary(site.store)
    path = links(site, "/failures?q=queue:mail", "Retry all")[0]
    page = site.get(path)

    scope = "failed jobs with task shop.mail:send_receipt, queue mail, error like"
    assert f"Retry {scope} '{CONNECTION}'?" in text_of(page)
    assert "Retry 3 jobs" in text_of(page)
    assert "afterword retry --all --search" in text_of(page)
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    fields = {name: unescape(value) for name, value in hidden}
    answer = site.post("/jobs/change/retry", **fields)
    assert "3 retried." in followed(site, answer)
    assert answer.headers["location"].startswith(f"{ROOT}/failures?q=queue:mail")
    assert 1 == failed(site.store)


def test_one_job_is_retried_as_a_probe(site: Site) -> None:
    ordinary(site.store)
    path = links(site, "/failures", "Retry one")[0]

    assert "Retry 1 job" in text_of(site.get(path))
    assert "failures" in site.get(path).text.split('name="back" value="')[1][:10]


def test_a_group_is_deleted(site: Site) -> None:
    ordinary(site.store)

    answer = site.post(
        "/jobs/change/delete", q=f'state:failed group:"{CONNECTION}"', back="failures"
    )

    assert "3 deleted." in followed(site, answer)
    assert 1 == failed(site.store)


def test_a_change_reaches_failures_that_were_not_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen says so; the number on the page before the change is a lower bound."""
    from afterword.admin import failures as groups

    people = Population(site.store)
    for number in range(5):
        people.end(Failed(f"ValueError: no order {number}"))
    monkeypatch.setattr(groups.failures, "__defaults__", (3,))

    shown = text_of(site.get("/failures"))
    path = links(site, "/failures", "Retry all")[0]

    assert "the newest 3 failed jobs; older ones were not looked at" in shown
    assert "Retry 3+ jobs" in text_of(site.get(path))
    site.post("/jobs/change/retry", q='state:failed group:"ValueError: no order #"')
    assert 0 == failed(site.store)


def test_a_search_that_looked_at_the_newest_only_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "WINDOW", 2)
    people = Population(site.store)
    people.end(Failed("ValueError: no"), "shop:old")
    for _ in range(6):
        people.end(Failed("ValueError: no"), "shop:new")

    shown = text_of(site.get("/failures?q=task:shop:old"))
    (path,) = links(site, "/failures?q=task:shop:old", "Search among older ones")

    assert "No failed job matches Only the newest failed jobs were looked at." in shown
    assert 200 == site.get(path).status_code


def test_jobs_that_no_worker_can_run_are_below(site: Site) -> None:
    people = Population(site.store)
    claim = people.start("shop.gone:f")
    site.store.release([Putback(claim, reason="No function is called 'shop.gone:f'.")])

    shown = text_of(site.get("/failures"))
    (path,) = links(site, "/failures", "shop.gone:f")

    assert "no worker could run these jobs so far" in shown
    assert "1 shop.gone:f No function is called <text>." in shown
    assert 1 == len(re.findall(r'<tr id="j-', site.get(path).text))


def test_many_groups_are_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_GROUPS", 1)
    ordinary(site.store)

    assert "1 more group: afterword failures --limit 2" in text_of(site.get("/failures"))


@pytest.mark.parametrize("text", ["id:456789ab", "arg.to:ada", "state:queued", "state:nonsense"])
def test_a_search_that_makes_no_groups_is_explained(site: Site, text: str) -> None:
    answer = site.get(f"/failures?q={text}")

    assert 200 == answer.status_code
    assert 'role="alert"' in answer.text


def test_a_reader_changes_no_failures(store: Store) -> None:
    ordinary(store)
    page = site_of(store, authorize=lambda request: "read").get("/failures").text

    assert CONNECTION in text_of(site_of(store).get("/failures"))
    assert "/jobs/change/" not in page
    assert (
        "/jobs/change/delete"
        not in site_of(store, authorize=lambda request: {"retry"}).get("/failures").text
    )


def test_text_of_failures_is_never_markup(site: Site) -> None:
    hostile(site.store)

    page = site.get("/failures").text

    assert [] == [each for each in HOSTILE if "<" in each and each in page]
    assert "\u202e" not in page


@pytest.mark.parametrize(
    "error",
    [
        "ValueError: " + "no such order, sir " * 100,
        "x" * 20_000,
        "ValueError: " + "\u202e" * 300,
        "ValueError: " + '"\\ ' * 300,
        "ValueError: " + "1 a " * 300,
        "a." * 100 + "Error: " + "\u00e9\u200f" * 200,
    ],
    ids=["long", "one word", "misleading", "quotes", "numbers", "both"],
)
def test_links_of_groups_work_whatever_the_error_is(site: Site, error: str) -> None:
    """They work with a search of the form's full length, too."""
    people = Population(site.store)
    for _ in range(2):
        people.end(Failed(error), "shop:send")
    people.end(Failed("ValueError: another one"), "shop:send")
    people.end(Failed(error), "shop:other")

    confirm = ""
    for query in ("", ("since:1h " * 222).strip()):
        path = "/failures?" + urlencode({"q": query})
        (found,) = (each for each in links(site, path, "shop:send") if "another" not in each)
        assert 2 == len(set(re.findall(r'id="(j-[^"]*)"', site.get(found).text)))
        retry = next(each for each in links(site, path, "Retry all") if "another" not in each)
        confirm = site.get(retry).text
        assert ">Retry 2 jobs<" in confirm
    (carried,) = re.findall(r'name="q" value="([^"]*)"', confirm)
    site.post("/jobs/change/retry", q=unescape(carried))
    assert 2 == failed(site.store)
