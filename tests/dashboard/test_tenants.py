"""Tenants: they see and change only their own jobs, on every route and both stores."""

from pathlib import Path
from typing import Any

import pytest

from afterword.dashboard import Person
from afterword.dashboard.routes import ROUTES, Route
from afterword.errors import ConfigurationError
from afterword.model.job import JobState
from afterword.model.outcome import Failed, RetryAt
from afterword.store.protocol import Settlement, Store
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import Population
from tests.dashboard.test_access import ask, names
from tests.dashboard.test_screens import shown_ids
from tests.stores import new_file, opened

THEIRS, OURS = "customer-7", "customer-8"


def site_for(store: Store, tenant: str | None = OURS) -> Site:
    return site_of(store, authorize=lambda request: Person("ada", may="operate", tenant=tenant))


class Jobs:
    """The jobs of a tenant: a queued, a running and two failed ones."""

    def __init__(self, store: Store, tenant: str) -> None:
        people = Population(store)
        values: dict[str, Any] = {
            "tags": (tenant, "both"),
            "arguments": f'{{"secret": "{tenant}"}}',
            "request_id": "one",
        }
        claim = people.start(f"task.of:{tenant}", **values)
        store.settle(
            [Settlement(claim, RetryAt(600.0, f"ValueError: {tenant}"), log=f"log {tenant}")]
        )
        self.queued = claim.id
        self.running = people.start(f"task.of:{tenant}", **values).id
        self.failed = people.end(Failed(f"ValueError: {tenant}"), f"task.of:{tenant}", **values)
        self.ids = {self.queued, self.running, self.failed}


@pytest.mark.parametrize("path", ["/jobs", "/jobs?q=tag:both", "/jobs?q=arg.secret:customer-7"])
def test_lists_have_only_their_own_jobs(store: Store, path: str) -> None:
    ours, theirs = Jobs(store, OURS), Jobs(store, THEIRS)

    shown = set(shown_ids(site_for(store).get(path)))

    assert shown <= ours.ids
    assert shown == (set() if "arg." in path else ours.ids)
    assert theirs.ids <= set(shown_ids(site_for(store, tenant=None).get("/jobs")))


@pytest.mark.parametrize("path", ["/failures", "/jobs/export.json", "/jobs/export.csv", "/jobs"])
def test_nothing_of_others_is_in_a_page(store: Store, path: str) -> None:
    Jobs(store, OURS)
    theirs = Jobs(store, THEIRS)

    text = site_for(store).get(path).text

    assert OURS in text
    assert THEIRS not in text
    assert [] == [each for each in theirs.ids if each in text]


def test_a_job_shows_nothing_of_others(store: Store) -> None:
    ours, theirs = Jobs(store, OURS), Jobs(store, THEIRS)
    site = site_for(store)

    own = site.get(f"/jobs/{ours.queued}").text

    assert f"log {OURS}" in own
    assert THEIRS not in own
    assert [] == [each for each in theirs.ids if each in own]
    for path in (theirs.queued, f"{theirs.queued}/copy", theirs.queued[-8:], theirs.queued[:20]):
        assert 404 == site.get(f"/jobs/{path}").status_code, path
    assert [] == shown_ids(site.get(f"/jobs?q={theirs.failed}"))
    assert [] == shown_ids(site.get(f"/jobs?q=id:{theirs.failed[-8:]}"))


@pytest.mark.parametrize("change", ["retry", "cancel", "delete"])
def test_changes_reach_only_their_own_jobs(store: Store, change: str) -> None:
    Jobs(store, OURS)
    theirs = Jobs(store, THEIRS)
    before = {job.id: job for job in store.get(list(theirs.ids))}
    site = site_for(store)

    confirm = site.get(f"/jobs/change/{change}?q=tag:both").text
    site.post(f"/jobs/change/{change}", q="tag:both")
    site.post(f"/jobs/change/{change}", id=list(theirs.ids))
    refused = site.post(f"/jobs/{theirs.failed}/copy")

    assert THEIRS not in confirm
    assert before == {job.id: job for job in store.get(list(theirs.ids))}
    assert 404 == refused.status_code


def test_their_own_jobs_are_changed_and_copied(store: Store) -> None:
    ours = Jobs(store, OURS)
    site = site_for(store)

    site.post("/jobs/change/retry", id=[ours.failed])
    copied = site.post(f"/jobs/{ours.failed}/copy", arguments='{"secret": 1}')
    copy_id = copied.headers["location"].partition("?")[0].rpartition("/")[2]

    (job, copy) = store.get([ours.failed]) + store.get([copy_id])  # type: ignore[operator]
    assert JobState.QUEUED == job.state
    assert OURS in copy.tags
    assert 200 == site.get(f"/jobs/{copy_id}").status_code


@pytest.mark.parametrize("change", ["cancel", "retry", "delete"])
@pytest.mark.parametrize("selected", [True, False], ids=["selected", "all"])
def test_a_change_that_would_reach_jobs_of_others_is_refused(
    store: Store, change: str, selected: bool
) -> None:
    """One request has added a job for each of two tenants; the second one follows."""
    people = Population(store)
    first = people.start("shop:f", tags=(OURS,)) if change == "retry" else None
    own = first.id if first else people.add("shop:f", tags=(OURS,))
    other = people.add("shop:g", tags=(THEIRS,), after=own)
    if first:
        store.settle([Settlement(first, Failed("ValueError: no"))])
    before = {job.id: job for job in store.get([own, other])}
    site = site_for(store)
    chosen = {"id": [own]} if selected else {"q": f"state:{before[own].state}"}

    answer = site.get(
        site.post(f"/jobs/change/{change}", **chosen).headers["location"][len(ROOT) :]
    )

    assert before == {job.id: job for job in store.get([own, other])}
    assert "1 refused" in answer.text
    assert "or jobs that you may not see would change with it" in answer.text
    site_for(store, tenant=None).post(f"/jobs/change/{change}", id=[own])
    assert before != {job.id: job for job in store.get([own, other])}


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_each_route_is_for_tenants_or_refuses_them(tmp_path: Path, route: Route) -> None:
    with opened(new_file(tmp_path / "jobs.db")) as store:
        job_id = Population(store).add(tags=(OURS,))
        status = ask(site_for(store), route, job_id)
        site = site_for(store)

        if route.name == "overview":
            assert f"{ROOT}/jobs" == site.get("/").headers["location"]
        elif route.for_tenants:
            assert status in (200, 303)
        else:
            assert 403 == status
        menu = site.get("/jobs").text.partition("<nav")[2].partition("</nav>")[0]
        assert (f'href="{ROOT}{route.path}"' in menu) == bool(route.menu and route.for_tenants)


def test_another_tenant_gets_another_tag(store: Store) -> None:
    tags = {site_for(store, each).get("/jobs").headers["etag"] for each in (OURS, THEIRS, None)}

    assert 3 == len(tags)


@pytest.mark.parametrize("tenant", ["", 7, ["a"]], ids=str)
def test_a_tenant_is_a_tag(store: Store, tenant: Any) -> None:
    with pytest.raises(ConfigurationError, match="tenant of a Person must be the tag"):
        site_for(store, tenant).get("/jobs")
