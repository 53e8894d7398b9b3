"""Searches, exports and forms with unusual values."""

import csv
import io
import json
import re
from html import unescape
from urllib.parse import urlencode

import pytest

from afterword.dashboard import export
from afterword.model.job import JobState
from afterword.model.outcome import Failed
from afterword.tasks.payload import PAYLOAD_LIMIT
from tests.dashboard.conftest import ROOT, Site
from tests.dashboard.population import Population


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("queue:mail", True),
        ("queue:default", False),
        ("task:no:such", False),
        ("tag:vip state:failed", True),
        ("tag:none", False),
        ("error:lost", True),
        ("error:other", False),
        ("since:1h", True),
        ("state:queued", False),
    ],
)
def test_a_job_that_is_named_must_match_the_other_words(
    site: Site, words: str, found: bool
) -> None:
    people = Population(site.store)
    job_id = people.end(Failed("it is lost"), "shop:send", queue="mail", tags=("vip",))
    people.end(Failed("it is lost"), "shop:send", queue="mail", tags=("vip",))

    for named in (job_id, job_id[-12:]):
        page = site.get(f"/jobs?q=id:{named} {words}").text
        assert ([f"j-{job_id}"] if found else []) == re.findall(r'id="(j-[^"]*)"', page)
    site.post("/jobs/change/retry", q=f"id:{job_id} {words}")
    (job,) = site.store.get([job_id])
    assert (JobState.QUEUED if found else JobState.FAILED) == job.state


@pytest.mark.parametrize(
    "text",
    [
        'say "hi"',
        '"',
        "a:b",
        "C:\\new",
        'C:\\"',
        "two  words ",
        "a\u202egnp.exe",
        "\x1b[2J\n",
        "é\u00a0",
    ],
    ids=ascii,
)
def test_links_find_their_job_whatever_it_is_called(site: Site, text: str) -> None:
    people = Population(site.store)
    people.add("shop:send", tags=("other",), request_id="other")
    job_id = people.add(f"shop:{text}", tags=(text,), request_id=text)
    links = re.findall(
        r'href="[^"]*(/jobs\?q=(?:tag|request|task):[^"]*)"', site.get(f"/jobs/{job_id}").text
    )

    assert 3 == len(links)
    for link in links:
        page = site.get(unescape(link)).text
        assert [f"j-{job_id}"] == re.findall(r'id="(j-[^"]*)"', page)
        # A form keeps the search, and so does the page before a change.
        (typed,) = re.findall(r'<input id="q"[^>]* value="([^"]*)"', page)
        assert f"j-{job_id}" in site.get("/jobs?" + urlencode({"q": unescape(typed)})).text
        confirm = site.get("/jobs/change/cancel?" + urlencode({"q": unescape(typed)})).text
        (carried,) = re.findall(r'name="q" value="([^"]*)"', confirm)
        assert unescape(typed) == unescape(carried)


def test_an_export_that_is_not_possible_is_explained(site: Site) -> None:
    people = Population(site.store)
    for end in "ab":
        people.add(id=f"0193e5f0-7c1a-7b2e-8d3f-0123456789a{end}")

    for kind in ("json", "csv"):
        answer = site.get(f"/jobs/export.{kind}?q=id:0193e5f0")

        assert 400 == answer.status_code
        assert "several ids begin with 0193e5f0" in answer.text


def test_the_head_of_an_export_reads_no_jobs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    Population(site.store).add()
    whole = site.get("/jobs/export.csv")
    monkeypatch.setattr(export, "every", lambda *_: map(pytest.fail, ["jobs were read"]))
    head = site.client.head(f"{ROOT}/jobs/export.csv")

    assert (200, "") == (head.status_code, head.text)
    same = ("content-type", "content-disposition", "cache-control")
    assert [whole.headers[each] for each in same] == [head.headers[each] for each in same]
    assert 400 == site.client.head(f"{ROOT}/jobs/export.csv?q=state:no").status_code


def test_numbers_in_a_spreadsheet_stay_numbers(site: Site) -> None:
    Population(site.store).add(priority=-5, request_id="-5")

    (row,) = csv.DictReader(io.StringIO(site.get("/jobs/export.csv").text))

    assert ("-5", "'-5") == (row["priority"], row["request_id"])


def test_the_largest_arguments_can_be_edited(site: Site) -> None:
    largest = json.dumps({"text": '"' * (PAYLOAD_LIMIT // 2 - 20)}, separators=(",", ":"))
    job_id = Population(site.store).add()

    answer = site.post(f"/jobs/{job_id}/copy", arguments=largest)

    assert 303 == answer.status_code
    assert largest in {job.arguments for job in site.store.find()}


def test_a_link_leads_only_to_jobs(site: Site) -> None:
    job_id = Population(site.store).add()

    assert 400 == site.get(f"/jobs/change/cancel?id={job_id}&job=../../../log-out").status_code
    assert 400 == site.get(f"/jobs/{job_id}?copied=../../../log-out").status_code
    assert JobState.QUEUED == site.store.get([job_id])[0].state
