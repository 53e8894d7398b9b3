"""Changes of all matching jobs, made in parts: each part is short, and no job is missed."""

import re
from collections.abc import Iterator

import httpx
import pytest

from afterword.admin import found
from afterword.dashboard import change
from afterword.model.job import JobState
from afterword.model.outcome import Completed, Failed
from afterword.model.records import Filter
from tests.dashboard.conftest import Site
from tests.dashboard.population import Population


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is one batch of two jobs, and a search reads four jobs at a time."""
    monkeypatch.setattr(change, "BATCH", 2)
    monkeypatch.setattr(change, "SECONDS", -1.0)
    monkeypatch.setattr(found, "PAGE", 2)
    monkeypatch.setattr(found, "READ", 4)


def answers(site: Site, path: str, **fields: str) -> Iterator[httpx.Response]:
    """Return the answers to a change and its continuations, as a browser sends them."""
    while True:
        answer = site.post(path, **fields)
        yield answer
        if answer.status_code != 200:
            return
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.text))


def test_a_change_of_several_states_reaches_all_their_jobs(site: Site) -> None:
    people = Population(site.store)
    for _ in range(3):
        people.end(Completed())
    people.end(Failed("ValueError: no"))  # newer than the completed jobs

    *_, last = answers(site, "/jobs/change/delete")

    assert 0 == sum(site.store.count().values())
    assert "deleted=4" in last.headers["location"]


def test_a_part_ends_in_time_also_if_nothing_matches(site: Site) -> None:
    people = Population(site.store)
    ids = [people.end(Failed("ValueError: no"), arguments=f'{{"n":{n}}}') for n in range(9)]

    all_answers = list(answers(site, "/jobs/change/retry", q="arg.n:0"))

    assert [200, 200, 303] == [each.status_code for each in all_answers]
    assert "0 retried" in all_answers[0].text
    assert "retried=1" in all_answers[-1].headers["location"]
    assert [ids[0]] == [job.id for job in site.store.find(Filter(state=JobState.QUEUED))]


def test_jobs_that_match_may_be_behind_those_that_were_looked_at(site: Site) -> None:
    people = Population(site.store)
    for number in range(9):
        people.end(Failed("ValueError: no"), arguments=f'{{"n":{number}}}')

    found = site.get("/jobs/change/retry?q=arg.n:0").text
    missing = site.get("/jobs/change/retry?q=arg.n:8%20task:no:such").text

    assert "No job matches" not in found
    assert 'method="post"' in found
    assert "No job matches" in missing


@pytest.mark.parametrize("field", [{"before": "garbage"}, {"at": "flying"}], ids=str)
def test_a_place_to_go_on_from_is_one(site: Site, field: dict[str, str]) -> None:
    Population(site.store).end(Failed("ValueError: no"))

    assert 400 == site.post("/jobs/change/retry", **field).status_code


def test_a_job_that_is_named_twice_is_changed_once(site: Site) -> None:
    job_id = Population(site.store).add()

    answer = site.post("/jobs/change/cancel", id=[job_id, job_id])

    assert answer.headers["location"].endswith("did=cancel&cancelled=1")
