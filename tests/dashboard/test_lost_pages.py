"""Open pages without news: the store is away, the session is over, the job is gone."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException as FastAPIError
from playwright.sync_api import Browser, Page, expect
from starlette.exceptions import HTTPException
from starlette.requests import Request

from afterword.dashboard import Person
from afterword.errors import StoreError
from afterword.model.job import JobState
from afterword.model.outcome import Failed
from afterword.store.protocol import Store
from tests.dashboard.browsing import CHROMIUM, Served, serving
from tests.dashboard.conftest import site_of
from tests.dashboard.population import Population
from tests.stores import new_file, opened

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium-headless-shell: scripts/test installs it"
)


class Away:
    """A store that can be away: each verb then fails, as with a locked file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreError("database is locked")
        return getattr(self._store, name)


@dataclass(slots=True)
class Door:
    """An `authorize` with a changeable answer."""

    answer: str | None = "operate"

    def __call__(self, request: Request) -> str | None:
        if self.answer == "log in":
            raise HTTPException(303, headers={"Location": "static/nowhere"})
        return self.answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(new_file(tmp_path / "jobs.db")) as store:
        yield store


@pytest.fixture
def away(store: Store) -> Away:
    return Away(store)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def served(away: Any, door: Door) -> Iterator[Served]:
    with serving(away, authorize=door) as served:
        yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


# ---------------------------------------------------------------------- polls


@needs_browser
def test_a_page_recovers_when_the_store_is_back(
    page: Page, served: Served, store: Store, away: Away
) -> None:
    Population(store).add()
    page.goto(f"{served.url}/jobs")
    away.away = True

    expect(page.locator("#status")).to_contain_text("The store cannot be reached", timeout=60_000)
    expect(page.locator("h1")).to_have_text("Jobs")
    expect(page.locator("header")).to_have_count(1)

    Population(store).add()
    away.away = False

    expect(page.locator("#news")).to_have_text("1 new job", timeout=60_000)
    expect(page.locator("#status")).to_have_text("")


@needs_browser
def test_a_job_that_is_deleted_meanwhile_stays_on_its_page(
    page: Page, served: Served, store: Store
) -> None:
    job_id = Population(store).add()
    page.goto(f"{served.url}/jobs/{job_id}")
    store.delete([job_id])

    expect(page.locator("#status")).to_contain_text("It may have been deleted", timeout=60_000)
    expect(page.locator("p.id")).to_contain_text(job_id)


@needs_browser
def test_who_lost_the_permission_is_told(page: Page, served: Served, door: Door) -> None:
    page.goto(f"{served.url}/jobs")
    door.answer = None

    expect(page.locator("#status")).to_contain_text("You have no permission", timeout=60_000)


@needs_browser
def test_who_must_log_in_again_is_led_there(page: Page, served: Served, door: Door) -> None:
    page.goto(f"{served.url}/")
    door.answer = "log in"

    page.wait_for_url("**/static/nowhere", timeout=60_000)


@needs_browser
def test_a_log_in_page_that_answers_a_poll_is_not_put_into_the_page(
    page: Page, served: Served
) -> None:
    page.goto(f"{served.url}/jobs")
    away = {"location": f"{served.url}/queues"}
    with page.expect_navigation(timeout=60_000):
        page.route("**/jobs", lambda route: route.fulfill(status=303, headers=away), times=1)

    expect(page.locator("h1")).to_have_text("Jobs")
    expect(page.locator("header")).to_have_count(1)


def test_answers_to_polls_are_words(store: Store, away: Any, door: Door) -> None:
    site = site_of(away, authorize=door)
    poll = {"hx-request": "true"}

    missing = site.get("/jobs/01234567-0000-7000-8000-000000000000", **poll)
    away.away = True
    broken = site.get("/jobs", **poll)
    door.answer = "log in"
    outside = site.get("/jobs", **poll)

    assert (404, "There is no job") == (missing.status_code, missing.text[:15])
    assert (503, "The store cannot be reached. Trying again.") == (broken.status_code, broken.text)
    assert (401, "") == (outside.status_code, outside.text)


@needs_browser
def test_times_are_right_where_the_clock_is_wrong(page: Page, served: Served, store: Store) -> None:
    Population(store).add()
    page.clock.set_system_time(time.time() - 7200)
    page.goto(f"{served.url}/jobs")

    expect(page.locator("td time")).to_have_text(re.compile(r"^\d+ s ago$"))


def test_a_refusal_may_have_a_document_as_its_detail(store: Store) -> None:
    def staff(request: Request) -> str:
        raise FastAPIError(418, {"code": "teapot"})

    site = site_of(store, authorize=staff)

    for headers in ({}, {"hx-request": "true"}):
        answer = site.get("/jobs", **headers)
        assert (418, True) == (answer.status_code, "teapot" in answer.text)


# ---------------------------------------------------------------------- forms


def test_a_change_that_fails_is_not_asked_for_again(store: Store, away: Any) -> None:
    job_id = Population(store).end(Failed("ValueError: no"))
    site = site_of(away)
    away.away = True

    answer = site.post("/jobs/change/delete", id=job_id)

    # A browser would ask for the same URL without the form: for a change of all jobs.
    assert 503 == answer.status_code
    assert "refresh" not in answer.headers
    assert "The change was not made, or only a part of it." in answer.text
    assert 1 == store.count()[JobState.FAILED]


def test_tenants_do_not_see_where_the_store_is(store: Store, away: Any) -> None:
    tenant = Person("ada", may="read", tenant="customer-7")
    site = site_of(away, authorize=lambda request: tenant)

    missing = site.get("/jobs/01234567-0000-7000-8000-000000000000")
    away.away = True
    broken = site.get("/jobs")

    assert (404, 503) == (missing.status_code, broken.status_code)
    assert "jobs.db" not in missing.text
    assert "database is locked" not in broken.text
