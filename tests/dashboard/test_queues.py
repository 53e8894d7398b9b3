"""The screens of queues and workers, on both stores."""

import re

import httpx
import pytest

from afterword.dashboard import queues
from afterword.store.protocol import Store
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import HOSTILE, Population, hostile, ordinary
from tests.dashboard.test_screens import text_of


def followed(site: Site, answer: httpx.Response) -> str:
    """Return the words of the page to which a change leads."""
    assert 303 == answer.status_code, answer.text
    return text_of(site.client.get(answer.headers["location"]))


def rule_of(store: Store, name: str) -> tuple[bool, int | None]:
    """Return whether a queue is paused, and its limit."""
    found = [each for each in store.queues() if each.name == name]
    return (found[0].paused, found[0].concurrency) if found else (False, None)


def test_queues_show_their_numbers_and_workers(site: Site) -> None:
    ordinary(site.store)

    answer = site.get("/queues")
    rows = re.findall(r"<tr>\s*(<td.*?)</tr>", answer.text, re.S)
    found = [re.sub(r"\s+", " ", re.sub("<[^>]*>", "", row)).strip() for row in rows]

    assert 3 == len(found)
    assert re.fullmatch(r"default served 1 \d+ s ago 1 1 2 1 worker", found[0]), found[0]
    assert re.fullmatch(r"exports no worker 1 \d+ s ago 0 0 0 –", found[1]), found[1]
    assert "mail served 0 – 1 0 0 of 5 1 worker" == found[2]
    assert "afterword queues" in answer.text


def test_an_empty_store_has_no_queues(site: Site) -> None:
    assert "No queue has unfinished jobs or a rule" in text_of(site.get("/queues"))


def test_many_queues_are_listed_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_QUEUES", 2)
    people = Population(site.store)
    for name in "abc":
        people.add(queue=name)

    first, second = text_of(site.get("/queues")), text_of(site.get("/queues?after=b"))

    assert "More queues" in first
    assert " c " not in first
    assert " c " in second
    assert "More queues" not in second


def test_a_queue_is_paused_and_resumed(site: Site) -> None:
    Population(site.store).add(queue="mail")

    paused = followed(site, site.post("/queues/queue/pause", name="mail"))
    rule = rule_of(site.store, "mail")
    resumed = followed(site, site.post("/queues/queue/resume", name="mail"))

    assert (True, None) == rule
    assert (False, None) == rule_of(site.store, "mail")
    assert "Paused. " in paused
    assert "afterword queues resume mail" in paused
    assert "Resumed. " in resumed
    assert "afterword queues pause mail" in resumed


@pytest.mark.parametrize(
    ("typed", "limit"), [("3", 3), (" 12 ", 12), ("", None), ("none", None)], ids=repr
)
def test_a_queue_is_limited(site: Site, typed: str, limit: int | None) -> None:
    site.store.limit({"mail": 7})

    text = followed(site, site.post("/queues/queue/limit", name="mail", limit=typed))

    assert (False, limit) == rule_of(site.store, "mail")
    assert "The limit is set." in text


def test_a_change_does_not_wait_long_for_a_worker_that_hangs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queues._WITHIN <= 5.0
    monkeypatch.setattr(queues, "_WITHIN", 0.1)
    site.store.join("hangs", 3600.0, ["mail"], 1)

    paused = followed(site, site.post("/queues/queue/pause", name="mail"))
    limited = followed(site, site.post("/queues/queue/limit", name="mail", limit="3"))

    assert (True, 3) == rule_of(site.store, "mail")
    for text in (paused, limited):
        assert "Not every worker has taken note yet" in text


@pytest.mark.parametrize("typed", ["0", "-1", "many", "1.5", "9" * 30])
def test_a_limit_that_is_not_possible_is_explained(site: Site, typed: str) -> None:
    answer = site.post("/queues/queue/limit", name="mail", limit=typed)

    assert 400 == answer.status_code
    assert "must be" in text_of(httpx.Response(200, text=answer.text))
    assert (False, None) == rule_of(site.store, "mail")


def test_a_queue_shows_its_workers_and_its_command(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/queues/queue?name=mail"))

    assert "of 5 at a time" in text
    assert "takes jobs" in text
    assert "2 of 8" in text
    assert "afterword queues limit mail 5" in text


def test_a_rule_may_be_set_before_the_queue_is_used(site: Site) -> None:
    assert "unused" in text_of(site.get("/queues/queue?name=new"))
    assert "paused" in followed(site, site.post("/queues/queue/pause", name="new"))


def test_readers_see_no_forms(store: Store) -> None:
    ordinary(store)
    site = site_of(store, authorize=lambda request: "read")

    answer = site.get("/queues/queue?name=mail")

    assert "<form" not in answer.text.partition("<dialog")[0]
    assert 403 == site.post("/queues/queue/pause", name="mail").status_code


@pytest.mark.parametrize("path", ["/queues/queue", "/queues/queue?name=", "/queues/queue?name=%00"])
def test_a_queue_needs_a_name(site: Site, path: str) -> None:
    assert 400 == site.get(path).status_code


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_only_text(site: Site, text: str) -> None:
    hostile(site.store)
    for path in ("/queues", "/queues/queue"):
        answer = site.client.get(f"{ROOT}{path}", params={"name": text, "did": text, "after": text})

        assert answer.status_code in (200, 400)
        for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e"):
            assert mark not in answer.text
