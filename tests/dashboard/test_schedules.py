"""The screen of schedules, on both stores."""

import re
import time

import pytest

from afterword.dashboard import schedules
from afterword.model.job import NewJob
from afterword.model.outcome import Completed, Failed
from afterword.schedules.schedule import occurrence_id
from afterword.store.protocol import Declared, Settlement, Store
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import HOSTILE, Population
from tests.dashboard.test_queues import followed
from tests.dashboard.test_screens import text_of

DAY = 86_400


def declare(store: Store, name: str = "nightly", rule: str = "every 86400 seconds") -> None:
    """Declare a schedule that is due the next day."""
    next_at = (time.time() // DAY + 1) * DAY
    store.declare(
        [Declared(name=name, task="shop:report", rule=rule, words="Every day", next_at=next_at)]
    )


def occurred(store: Store, days_ago: int, name: str = "nightly", *, fails: bool = False) -> str:
    """Add the ended job of an occurrence at midnight; returns its id."""
    people = Population(store)
    at = (time.time() // DAY - days_ago) * DAY
    job = NewJob(id=occurrence_id(name, at), task="shop:report", priority=-1000)
    store.add([job])
    (claim,) = store.claim(people.worker, ["default"], 1)
    assert job.id == claim.id
    outcome = Failed("ValueError: no") if fails else Completed()
    store.settle([Settlement(claim, outcome, seconds=0.1)])
    return job.id


def dots(text: str) -> list[str]:
    """Return the states of the latest occurrences."""
    return re.findall(r'<li class="k-([a-z-]+)" title=', text)


def test_a_schedule_shows_its_rule_and_its_next_occurrences(site: Site) -> None:
    declare(site.store, rule="0 9 * * * Europe/Berlin")

    answer = site.get("/schedules")
    text = text_of(answer)

    assert "nightly active" in text
    assert "0 9 * * * Europe/Berlin" in text
    assert "the next 5" in text
    assert 4 == len(re.findall(r"<li>\S+ 09:00:00\+0[12]00", answer.text))
    assert "no job yet" in text


def test_the_latest_occurrences_have_their_jobs(site: Site) -> None:
    declare(site.store)
    ids = [occurred(site.store, 4), occurred(site.store, 3, fails=True), occurred(site.store, 1)]

    answer = site.get("/schedules")

    assert ["completed", "failed", "no-job", "completed", "no-job"] == dots(answer.text)
    for job_id in ids:
        assert f"{ROOT}/jobs/{job_id}" in answer.text
    assert "after its time" in text_of(answer)


def test_a_due_occurrence_waits_for_its_job(site: Site) -> None:
    midnight = time.time() // DAY * DAY
    site.store.declare(
        [
            Declared(
                name="nightly",
                task="shop:report",
                rule="every 86400 seconds",
                words="Every day",
                next_at=midnight,
            )
        ]
    )
    occurred(site.store, 1)

    assert ["completed", "due"] == dots(site.get("/schedules").text)


def test_a_schedule_is_paused_and_resumed(site: Site) -> None:
    declare(site.store)

    paused = followed(site, site.post("/schedules/pause", name="nightly"))
    was = site.store.schedules()[0].paused
    resumed = followed(site, site.post("/schedules/resume", name="nightly"))

    assert was
    assert not site.store.schedules()[0].paused
    assert "Paused nightly." in paused
    assert "none while it is paused" in paused
    assert "afterword schedules resume nightly" in paused
    assert "Resumed nightly." in resumed


def test_an_unknown_schedule_cannot_be_paused(site: Site) -> None:
    assert 404 == site.post("/schedules/pause", name="unknown").status_code
    assert 404 == site.post("/schedules/pause").status_code


def test_a_rule_of_another_release_is_shown_as_it_is(site: Site) -> None:
    declare(site.store, rule="at full moon")

    text = text_of(site.get("/schedules"))

    assert "at full moon" in text
    assert "the next" not in text


def test_a_copy_of_the_last_job_can_run(site: Site) -> None:
    declare(site.store)
    job_id = occurred(site.store, 1)

    answer = site.get("/schedules")

    assert f'action="{ROOT}/jobs/{job_id}/copy"' in answer.text


def test_readers_see_no_buttons(store: Store) -> None:
    declare(store)
    occurred(store, 1)

    text = site_of(store, authorize=lambda request: "read").get("/schedules").text

    assert "<form" not in text.partition("<dialog")[0]


def test_many_schedules_are_listed_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_SCHEDULES", 2)
    for name in ("one", "three", "two"):
        declare(site.store, name)

    first, second = site.get("/schedules"), site.get("/schedules?after=three")

    assert "More schedules" in first.text
    assert 'value="two"' not in first.text
    assert 'value="two"' in second.text


def test_no_schedules(site: Site) -> None:
    assert "@afterword.every" in text_of(site.get("/schedules"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(site: Site, text: str) -> None:
    site.store.declare(
        [Declared(name=text, task=f"{text}:{text}", rule=text, words=text, next_at=time.time())]
    )

    answer = site.get("/schedules?did=pause&name=%3Cscript%3Ealert(1)%3C/script%3E")

    assert 200 == answer.status_code
    for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e"):
        assert mark not in answer.text
