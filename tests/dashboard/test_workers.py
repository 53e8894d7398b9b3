"""The screen of workers, on both stores."""

import pytest

from afterword.dashboard import workers
from afterword.store.protocol import Store
from tests.dashboard.conftest import Site, site_of
from tests.dashboard.population import Population, hostile, ordinary
from tests.dashboard.test_screens import text_of


def test_workers_show_what_they_run(site: Site) -> None:
    ordinary(site.store)

    text = text_of(site.get("/workers"))

    assert "Workers1 takes jobs" in text
    assert "Running2 of 8 slots" in text
    assert "2 of 8" in text
    assert "shop.images:resize" in text
    assert "41 %, 40 of 96: resizing" in text
    assert "asked to end (not needed any more)" in text
    assert "afterword workers" in text


def test_a_store_without_workers_says_how_to_start_one(site: Site) -> None:
    text = text_of(site.get("/workers"))

    assert "No worker takes jobs" in text
    assert "afterword worker main:app" in text


def test_states_of_workers(site: Site) -> None:
    Population(site.store)
    site.store.join("only-stores", 3600.0, (), 0)
    site.store.join("retiring", 3600.0, ("mail",), 2)
    site.store.retire("retiring")

    text = text_of(site.get("/workers"))

    assert "takes jobs" in text
    assert "shutting down" in text
    assert "Processes that only store jobs" in text
    assert "Workers1 takes jobs" in text


def test_jobs_of_one_worker_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_JOBS", 1)
    people = Population(site.store)
    first, second = people.start(), people.start()

    answer = site.get("/workers")

    assert f'id="j-{first.id}"' in answer.text
    assert f'id="j-{second.id}"' not in answer.text
    assert "All 2 running jobs" in text_of(answer)


def test_arguments_are_not_shown(store: Store) -> None:
    Population(store).start(arguments='{"secret": "s3cret"}')

    assert "s3cret" not in site_of(store).get("/workers").text


def test_hostile_text_is_only_text(site: Site) -> None:
    hostile(site.store)

    text = site.get("/workers").text

    for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e"):
        assert mark not in text
