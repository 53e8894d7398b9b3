"""The screen of the system, on both stores."""

import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword
from afterword.admin import checkup
from afterword.store.opening import open_store
from tests.dashboard.conftest import Site, site_of
from tests.dashboard.population import Population, hostile, ordinary
from tests.dashboard.test_screens import text_of
from tests.stores import new_file, opened


def test_it_shows_what_the_doctor_finds(site: Site) -> None:
    ordinary(site.store)

    answer = site.get("/system")
    text = text_of(answer)

    assert re.search("[12] problem", text)  # the tests' server does not survive a power cut
    assert "Queue: no worker serves exports" in text
    assert "afterword worker module:app --queues exports" in text
    assert "5 queued, 2 running, 13 completed, 4 failed, 1 cancelled" in text
    for each in checkup.installation():
        assert each.found in text
    for each in checkup.of_store(site.store):
        assert f"{each.name.capitalize()}" in text
    assert re.search(r"Schemaversion \d+", text)
    assert "afterword doctor" in text


def test_a_healthy_store_is_healthy(tmp_path: Path) -> None:
    with opened(new_file(tmp_path / "jobs.db")) as store:
        Population(store)

        assert "System healthy" in text_of(site_of(store).get("/system"))


def test_the_report_has_all_of_it(site: Site) -> None:
    ordinary(site.store)

    page = site.get("/system").text
    report = re.search(r"<pre tabindex=\"0\"><code>(.*?)</code>", page, re.S)

    assert report
    assert "problem  queue: no worker serves exports\n         Start one:" in report[1]
    assert "ok       schema: version " in report[1]


def test_readers_see_it_without_secrets(postgres_url: str) -> None:
    url = postgres_url.replace("postgres@", "postgres:s3cret@")
    assert "s3cret" in url
    store = open_store(url)
    store.open()
    page = site_of(store, authorize=lambda request: "read").get("/system").text
    store.close()

    assert "s3cret" not in page
    assert "survives" in page


def test_an_application_shows_its_settings(tmp_path: Path) -> None:
    application, url = FastAPI(), f"sqlite:///{tmp_path / 'jobs.db'}"
    afterword = Afterword(application, url, queues={"mail": 5, "news": None}, redact=str)
    application.mount("/jobs", afterword.dashboard(authorize=lambda request: "read"))
    with TestClient(application) as client:
        text = text_of(client.get("/jobs/system"))

    assert "Queuesmail (at most 5 at a time), news" in text
    assert "Redactyes" in text
    assert "Retention7 d" in text


def test_hostile_text_is_only_text(site: Site) -> None:
    hostile(site.store)

    answer = site.get("/system")

    assert 200 == answer.status_code
    for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e"):
        assert mark not in answer.text
