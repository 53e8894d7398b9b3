"""The audit, and its screen: all changes from all interfaces, on both stores."""

import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.testclient import TestClient

from afterword.admin import audit
from afterword.cli.dashboard import dashboard_of
from afterword.cli.person import this_person
from afterword.dashboard import Person
from afterword.dashboard import audit as screen
from afterword.errors import ConfigurationError
from afterword.model.audit import Actor
from afterword.model.outcome import Failed
from afterword.store.protocol import Declared, Store
from tests.dashboard.conftest import ROOT, Site, site_of
from tests.dashboard.population import HOSTILE, Population
from tests.dashboard.test_screens import text_of

ANN = Actor(name="ann", place="command line")


def acts(store: Store) -> list[tuple[str, str, str, str, int]]:
    """Return the audit, the oldest action first."""
    return [
        (each.name, each.place, each.action, each.target, each.count)
        for each in reversed(store.audit())
    ]


@pytest.fixture
def ada(store: Store) -> Site:
    """A dashboard whose `authorize` names the person."""
    return site_of(store, authorize=lambda request: Person("ada", may="operate"))


# ---------------------------------------------------------------------- what is in it


def test_changes_of_jobs_are_in_the_audit(store: Store, ada: Site) -> None:
    people = Population(store)
    ids = [people.end(Failed("ValueError: no")) for _ in range(3)]

    ada.post("/jobs/change/retry", id=ids[:2])
    ada.post("/jobs/change/cancel", id=ids[0])
    ada.post("/jobs/change/delete", id=ids[2])

    assert [
        ("ada", "dashboard", "retry", ", ".join(ids[:2]), 2),
        ("ada", "dashboard", "cancel", ids[0], 1),
        ("ada", "dashboard", "delete", ids[2], 1),
    ] == acts(store)
    assert "cancelled in the dashboard" == store.get([ids[0]])[0].error


def test_a_change_of_all_that_match_is_one_action(
    store: Store, ada: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterword.dashboard.change.BATCH", 1)
    people = Population(store)
    for number in range(3):
        people.end(Failed("ValueError: no"), arguments=f'{{"user": "u{number % 2}"}}')

    ada.post("/jobs/change/retry", q="task:shop.orders:pack_order")
    ada.post("/jobs/change/cancel", q="arg.user:u1")

    # Some people may see the audit, but not the arguments.
    assert [
        ("ada", "dashboard", "retry", "failed jobs with task shop.orders:pack_order", 3),
        ("ada", "dashboard", "cancel", "queued jobs with argument user", 1),
    ] == acts(store)


def test_other_changes_are_in_the_audit(store: Store, ada: Site) -> None:
    job_id = Population(store).add()
    store.declare(
        [Declared(name="nightly", task="app:f", rule="every 60 seconds", words="", next_at=0.0)]
    )

    ada.post("/queues/queue/pause", name="mail")
    ada.post("/queues/queue/resume", name="mail")
    ada.post("/queues/queue/limit", name="mail", limit="3")
    ada.post("/schedules/pause", name="nightly")
    ada.post("/schedules/resume", name="nightly")
    copied = ada.post(f"/jobs/{job_id}/copy").headers["location"]

    copy_id = copied.partition("?")[0].rpartition("/")[2]
    assert [
        ("pause", "mail", 1),
        ("resume", "mail", 1),
        ("limit", "mail: 3", 1),
        ("pause schedule", "nightly", 1),
        ("resume schedule", "nightly", 1),
        ("run", f"shop.orders:pack_order, {copy_id}", 1),
    ] == [each[2:] for each in acts(store)]
    assert {("ada", "dashboard")} == {each[:2] for each in acts(store)}


def test_what_is_refused_is_not_in_the_audit(store: Store, ada: Site) -> None:
    job_id = Population(store).add()
    reader = site_of(store, authorize=lambda request: Person("bob", may="read"))

    ada.post("/jobs/change/retry", id=job_id)
    reader.post("/jobs/change/cancel", id=job_id)
    reader.post("/queues/queue/pause", name="mail")

    assert [] == acts(store)


# ---------------------------------------------------------------------- the name


class Known(AuthenticationBackend):
    """A middleware that finds the user in a header."""

    async def authenticate(self, conn: HTTPConnection) -> Any:
        name = conn.headers.get("x-user")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def named(store: Store, authorize: Any, **headers: str) -> str:
    """Return the name in the audit of a change made with these headers."""
    mounted = site_of(store, authorize=authorize).client.app.routes[0].app  # type: ignore[attr-defined]
    middleware = [Middleware(AuthenticationMiddleware, backend=Known())]
    client = TestClient(Starlette(routes=[Mount(ROOT, mounted)], middleware=middleware))
    kind = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    answer = client.post(f"{ROOT}/queues/queue/pause?name=mail", headers={**kind, **headers})
    assert 200 == answer.status_code
    return store.audit(1)[0].name


def test_the_name_is_that_of_the_person_or_of_the_user(store: Store) -> None:
    assert "ada" == named(store, lambda request: Person("ada", may={"queues"}))
    assert "ada" == named(
        store, lambda request: Person("ada", may="operate"), **{"x-user": "other"}
    )
    assert "eve" == named(store, lambda request: "operate", **{"x-user": "eve"})
    assert "" == named(store, lambda request: "operate")


def test_with_the_command_it_is_the_user_who_has_started_it(store: Store) -> None:
    client = TestClient(dashboard_of(store, "t0ken", hosts=None))
    client.get("/?token=t0ken")
    kind = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    job_id = Population(store).add()
    client.post("/queues/queue/pause?name=mail", headers=kind)
    client.post(f"/jobs/{job_id}/copy", headers=kind)

    assert [this_person().name] * 2 == [each.name for each in store.audit()]
    assert {"dashboard"} == {each.place for each in store.audit()}


@pytest.mark.parametrize("may", [None, False, set()], ids=repr)
def test_a_person_without_permissions_sees_nothing(store: Store, may: Any) -> None:
    site = site_of(store, authorize=lambda request: Person("ada", may=may))

    assert 403 == site.get("/").status_code


@pytest.mark.parametrize(
    ("name", "may", "match"),
    [(None, "read", "must be text"), (7, "read", "must be text"), ("ada", True, "must return")],
)
def test_a_person_that_makes_no_sense_is_a_mistake(
    store: Store, name: Any, may: Any, match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        site_of(store, authorize=lambda request: Person(name, may=may)).get("/")


# ---------------------------------------------------------------------- the screen


def rows(answer: httpx.Response) -> list[str]:
    """Return the words of each row."""
    found = re.findall(r"<tr>\s*(<td.*?)</tr>", answer.text, re.S)
    return [re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", each)).strip() for each in found]


def test_the_screen_lists_the_newest_first(site: Site) -> None:
    job_id = Population(site.store).add()
    site.store.pause(["mail", "news"], by=ANN)
    site.store.cancel([job_id], "no", by=Actor(name="", place="API"))

    answer = site.get("/audit")

    assert 2 == len(rows(answer))
    assert re.fullmatch(rf"\d+ s ago unknown API cancel 1 job {job_id[-8:]}", rows(answer)[0])
    assert re.fullmatch(r"\d+ s ago ann command line pause 2 queues mail, news", rows(answer)[1])
    assert f'href="{ROOT}/jobs/{job_id}"' in answer.text
    assert "afterword audit" in answer.text


def test_it_is_searched(site: Site) -> None:
    job_id = Population(site.store).add()
    for name in ("Ann@example.org", "bob"):
        by = Actor(name=name, place="dashboard")
        site.store.resume(["mail"], by=by)
        site.store.pause(["mail"], by=by, within=0.0)
    site.store.cancel([job_id], "no", by=ANN)

    assert 3 == len(rows(site.get("/audit?name=ann")))
    assert 2 == len(rows(site.get("/audit?action=pause")))
    assert 1 == len(rows(site.get("/audit?name=bob&action=pause&target=MAIL")))
    assert 1 == len(rows(site.get(f"/audit?target={job_id[-8:]}")))
    assert "afterword audit --name bob" in site.get("/audit?name=bob").text
    assert "No action matches" in text_of(site.get("/audit?name=eve"))


def test_it_has_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_ACTS", 2)
    for number in range(5):
        site.store.resume([str(number)], by=ANN)

    path, found, text = f"{ROOT}/audit", [], ""
    while path:
        answer = site.client.get(path)
        text = answer.text
        found.append([each[-1] for each in rows(answer)])
        link = re.search(r'rel="next" href="([^"]*)"', text)
        path = link[1].replace("&amp;", "&") if link else ""

    assert [["4", "3"], ["2", "1"], ["0"]] == found
    assert "Newest" in text
    assert 400 == site.get("/audit?before=nonsense").status_code


def test_a_search_reads_only_so_many(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "READ", 4)
    monkeypatch.setattr(audit, "_PAGE", 2)
    site.store.resume(["first"], by=ANN)
    for _ in range(5):
        site.store.resume(["mail"], by=ANN)

    answer = site.get("/audit?target=first")
    link = re.search(r'<a href="([^"]*)">Search older ones', answer.text)

    assert "No action matches so far" in text_of(answer)
    assert link
    assert 1 == len(rows(site.client.get(link[1].replace("&amp;", "&"))))


def test_an_empty_audit_says_how_people_get_names(site: Site) -> None:
    assert "No changes have been made yet" in text_of(site.get("/audit"))
    assert "Person(" in site.get("/audit").text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(site: Site, text: str) -> None:
    site.store.note(text[:100], [text], 1, Actor(name=text, place=text))
    for query in ({}, {"name": text, "action": text, "target": text}):
        answer = site.client.get(f"{ROOT}/audit", params=query)

        assert 200 == answer.status_code
        for mark in ("<script>alert", "<img src=x", "onload=alert(1)>", "\x1b", "\u202e"):
            assert mark not in answer.text
