"""Access to every route: who may see and change what, also from other sites."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Mount
from starlette.testclient import TestClient

from afterword import Afterword
from afterword.dashboard.application import FORM_LIMIT
from afterword.dashboard.permissions import OPERATE, READ, Permission
from afterword.dashboard.routes import ROUTES, Route
from afterword.dashboard.static_files import FOLDER
from afterword.errors import ConfigurationError
from afterword.store.protocol import Declared, Store
from tests.dashboard.conftest import HOST, ROOT, Site, site_of
from tests.dashboard.population import Population
from tests.stores import new_file, opened

OWN = {"sec-fetch-site": "same-origin"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def sent(store: Store, url: str, headers: dict[str, str]) -> httpx.Response:
    """Send a form with these headers; returns the answer."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer: httpx.Response = site_of(store).client.post(url, headers={**kind, **headers})
    return answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with one job; the kind of store does not matter here."""
    with opened(new_file(tmp_path / "jobs.db")) as store:
        yield store


@pytest.fixture
def job_id(store: Store) -> str:
    """The id of a queued job; there is also a schedule."""
    schedule = Declared(
        name="default", task="app:f", rule="every 60 seconds", words="Every minute", next_at=0.0
    )
    store.declare([schedule])
    return Population(store).add(arguments='{"secret": "s3cret"}')


def url_of(route: Route, job_id: str) -> str:
    """Return a working URL of the route."""
    return (
        ROOT
        + route.path.format(job_id=job_id, format="json")
        + f"?id={job_id}&name=default&task=app:f"
    )


def ask(site: Site, route: Route, job_id: str, **headers: str) -> int:
    """Send a request with the route's method; returns the status."""
    answer = site.client.request(
        route.method,
        url_of(route, job_id),
        headers={**OWN, "content-type": "application/x-www-form-urlencoded", **headers},
    )
    return int(answer.status_code)


def names(route: Route) -> str:
    return f"{route.method} {route.path}"


every_route = pytest.mark.parametrize("route", ROUTES, ids=names)
changes = pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.method == "POST"], ids=names
)


# ---------------------------------------------------------------------- every route


@every_route
@pytest.mark.parametrize("answer", [None, False, set(), frozenset()], ids=repr)
def test_nobody_is_let_in(store: Store, job_id: str, route: Route, answer: object) -> None:
    site = site_of(store, authorize=lambda request: answer)

    assert 403 == ask(site, route, job_id)


@every_route
def test_readers_read(store: Store, job_id: str, route: Route) -> None:
    site = site_of(store, authorize=lambda request: "read")

    assert (200 if route.needs == "read" else 403) == ask(site, route, job_id)


@every_route
def test_operators_do_everything(store: Store, job_id: str, route: Route) -> None:
    site = site_of(store, authorize=lambda request: "operate")

    assert ask(site, route, job_id) in (200, 303)


@every_route
def test_each_route_needs_its_permission(store: Store, job_id: str, route: Route) -> None:
    others = OPERATE - {route.needs} - READ
    site = site_of(store, authorize=lambda request: others)
    exact = site_of(store, authorize=lambda request: {route.needs})

    assert (200 if route.needs == "read" else 403) == ask(site, route, job_id)
    assert ask(exact, route, job_id) in (200, 303)


@every_route
def test_a_foreign_host_is_refused(store: Store, job_id: str, route: Route) -> None:
    site = site_of(store, hosts=[HOST])

    assert ask(site, route, job_id) in (200, 303)
    assert 400 == ask(site, route, job_id, host="evil.example")
    assert 400 == ask(site, route, job_id, host=f"{HOST}.evil.example")
    assert 400 == ask(site, route, job_id, host="")


@every_route
def test_other_methods_are_not_allowed(store: Store, job_id: str, route: Route) -> None:
    site = site_of(store)
    path = route.path
    allowed = {each.method for each in ROUTES if each.path == path}
    for method in set(METHODS) - allowed:
        answer = site.client.request(method, url_of(route, job_id), headers=OWN)
        assert 405 == answer.status_code, method


@changes
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": f"http://{HOST}"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": f"http://{HOST}.evil.example"},
        {"cookie": "session=1"},
        {},
    ],
    ids=str,
)
def test_changes_from_other_sites_are_refused(
    store: Store, job_id: str, route: Route, headers: dict[str, str]
) -> None:
    answer = sent(store, url_of(route, job_id), headers)

    assert 403 == answer.status_code
    assert [job_id] == [job.id for job in store.find()]


@changes
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "none"},
        {"origin": f"https://{HOST}"},
        {"authorization": "Bearer t"},
    ],
    ids=str,
)
def test_own_pages_and_programs_may_change(
    store: Store, job_id: str, route: Route, headers: dict[str, str]
) -> None:
    answer = sent(store, url_of(route, job_id), headers)

    assert 303 == answer.status_code


@changes
def test_a_change_is_a_form(store: Store, job_id: str, route: Route) -> None:
    site = site_of(store)

    for kind in ("application/json", "text/plain", "multipart/form-data", ""):
        assert 415 == ask(site, route, job_id, **{"content-type": kind})
    too_large = site.client.post(
        url_of(route, job_id),
        content=b"a=" + b"x" * FORM_LIMIT,
        headers={**OWN, "content-type": "application/x-www-form-urlencoded"},
    )
    assert 413 == too_large.status_code


@every_route
def test_every_response_has_the_headers(store: Store, job_id: str, route: Route) -> None:
    for site in (site_of(store), site_of(store, authorize=lambda request: None)):
        answer = site.client.request(route.method, url_of(route, job_id), headers=OWN)
        policy = answer.headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "no-referrer" == answer.headers["referrer-policy"]
        assert "no-store" == answer.headers["cache-control"]


def test_the_names_of_routes_are_unique() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert {route.needs for route in ROUTES} <= set(get_args(Permission))


# ---------------------------------------------------------------------- authorize


def named_request(request: Request) -> str | None:
    return request.headers.get("x-user")


async def in_the_loop(request: Request) -> str | None:
    return request.headers.get("x-user")


def a_dependency(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


async def a_chain(user: Annotated[str | None, Depends(a_dependency)]) -> str | None:
    if user == "banned":
        raise HTTPException(401, "Log in", {"WWW-Authenticate": "Basic"})
    return user


def needs_a_header(x_user: Annotated[str, Header()]) -> str:
    return x_user


class Judge:
    """An object as `authorize`, called with the request."""

    def __call__(self, request: Request) -> str | None:
        return request.headers.get("x-user")


@pytest.mark.parametrize(
    "authorize",
    [
        named_request,
        in_the_loop,
        lambda request: request.headers.get("x-user"),
        a_dependency,
        a_chain,
        Depends(a_chain),
        Judge(),
    ],
)
def test_authorize_is_a_function_or_a_dependency(store: Store, authorize: Any) -> None:
    site = site_of(store, authorize=authorize)

    assert 403 == site.get("/jobs").status_code
    assert 200 == site.get("/jobs", **{"x-user": "read"}).status_code


def test_authorize_may_send_people_to_the_log_in_page(store: Store) -> None:
    def staff(request: Request) -> str:
        raise HTTPException(303, headers={"Location": "/login"})

    for authorize in (staff, Depends(staff)):
        answer = site_of(store, authorize=authorize).get("/")

        assert (303, "/login") == (answer.status_code, answer.headers["location"])


class NotLoggedIn(Exception):
    """An exception for which the application has a handler."""


def a_stranger(request: Request) -> None:
    raise NotLoggedIn


@pytest.mark.parametrize("authorize", [a_stranger, Depends(a_stranger)], ids=["def", "Depends"])
def test_the_application_handles_its_own_exceptions(store: Store, authorize: Any) -> None:
    async def to_log_in(request: Request, error: Exception) -> RedirectResponse:
        return RedirectResponse("/login", 303)

    inner = site_of(store, authorize=authorize).client.app.routes[0].app  # type: ignore[attr-defined]
    application = FastAPI(exception_handlers={NotLoggedIn: to_log_in})
    application.mount("/dashboard", inner)

    answer = TestClient(application).get("/dashboard/jobs", follow_redirects=False)

    assert (303, "/login") == (answer.status_code, answer.headers["location"])


def test_a_dependency_may_refuse(store: Store) -> None:
    answer = site_of(store, authorize=a_chain).get("/", **{"x-user": "banned"})

    assert 401 == answer.status_code
    assert "Basic" == answer.headers["www-authenticate"]
    assert 422 == site_of(store, authorize=needs_a_header).get("/").status_code


def test_dependencies_can_be_overridden_in_tests(tmp_path: Path) -> None:
    application = FastAPI()
    afterword = Afterword(application, f"sqlite:///{tmp_path / 'jobs.db'}")
    application.mount("/dashboard", afterword.dashboard(authorize=a_chain))
    application.dependency_overrides[a_dependency] = lambda: "read"

    with TestClient(application) as client:
        assert 200 == client.get("/dashboard/jobs").status_code


def test_authorize_sees_the_application_around_it(tmp_path: Path) -> None:
    def staff(request: Request) -> str | None:
        granted: str | None = request.app.state.granted
        return granted

    application = FastAPI()
    application.state.granted = "read"
    afterword = Afterword(application, f"sqlite:///{tmp_path / 'jobs.db'}")
    application.mount("/dashboard", afterword.dashboard(authorize=staff))

    with TestClient(application) as client:
        assert 200 == client.get("/dashboard/jobs").status_code


@pytest.mark.parametrize(
    "answer", [True, "admin", 1, {"fly"}, ["operate"], b"read", {"delete": False}], ids=str
)
def test_other_answers_are_mistakes(store: Store, answer: object) -> None:
    site = site_of(store, authorize=lambda request: answer)

    with pytest.raises(ConfigurationError, match='must return None, "read", "operate"'):
        site.get("/")


@pytest.mark.parametrize("authorize", ["staff", 7, ["read"]], ids=str)
def test_authorize_must_be_callable(store: Store, authorize: Any) -> None:
    with pytest.raises(ConfigurationError, match="authorize must be a function"):
        site_of(store, authorize=authorize)


def test_authorize_takes_nothing_that_anybody_can_write_into_the_url(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="'user' has none: FastAPI would take its value"):
        site_of(store, authorize=lambda user: "operate" if user else None)


@pytest.mark.parametrize("hosts", ["app.example.org", [""], [7]], ids=str)
def test_hosts_must_be_names(store: Store, hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="hosts must be a list of names"):
        site_of(store, hosts=hosts)


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs/export.json", "/jobs/export.csv", "/jobs"])
def test_arguments_are_hidden_from_readers(store: Store, job_id: str, path: str) -> None:
    reader = site_of(store, authorize=lambda request: "read")
    operator = site_of(store, authorize=lambda request: "operate")
    trusting = site_of(store, authorize=lambda request: "read", readers_see_arguments=True)
    path = path.format(job_id)

    assert "s3cret" not in reader.get(path).text
    if path != "/jobs":
        assert "s3cret" in operator.get(path).text
        assert "s3cret" in trusting.get(path).text


def test_who_may_only_add_jobs_types_all_arguments(store: Store, job_id: str) -> None:
    site = site_of(store, authorize=lambda request: {"add"})

    form = site.get(f"/jobs/{job_id}/copy")
    added = site.post(f"/jobs/{job_id}/copy", arguments='{"n": 1}')

    assert 200 == form.status_code
    assert "s3cret" not in form.text
    assert 303 == added.status_code
    assert {'{"n":1}', '{"secret": "s3cret"}'} == {job.arguments for job in store.find()}


@pytest.mark.parametrize("path", ["/jobs", "/jobs/export.json"])
def test_readers_cannot_search_in_arguments(store: Store, job_id: str, path: str) -> None:
    site = site_of(store, authorize=lambda request: "read")

    assert 403 == site.get(f"{path}?q=arg.secret:s3cret").status_code


def test_a_reader_sees_no_changes(store: Store, job_id: str) -> None:
    site = site_of(store, authorize=lambda request: "read")

    for path in ("/jobs", f"/jobs/{job_id}"):
        assert "/jobs/change/" not in site.get(path).text
        assert "/copy" not in site.get(path).text


# ---------------------------------------------------------------------- development


def local(store: Store, host: str = "127.0.0.1", client: str = "127.0.0.1") -> TestClient:
    """Return a client of a dashboard without `authorize`."""
    mounted = site_of(store, authorize=None, development=True).client.app
    return TestClient(mounted, base_url=f"http://{host}", client=(client, 50_000))


def test_without_authorize_there_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFTERWORD_DEV", raising=False)
    with pytest.raises(ConfigurationError, match="without `authorize` is for development"):
        site_of(store, authorize=None)


def test_in_development_it_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    monkeypatch.delenv("AFTERWORD_DEV", raising=False)
    Afterword(FastAPI(debug=True), url).dashboard()
    with pytest.raises(ConfigurationError):
        Afterword(FastAPI(), url).dashboard()
    monkeypatch.setenv("AFTERWORD_DEV", "1")
    Afterword(FastAPI(), url).dashboard()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "app.localhost", "localhost:80"]
)
def test_in_development_this_machine_is_answered(store: Store, host: str) -> None:
    assert 200 == local(store, host).get(f"{ROOT}/").status_code


def test_in_development_nobody_else_is_answered(store: Store) -> None:
    assert 403 == local(store, client="203.0.113.7").get(f"{ROOT}/").status_code
    assert 403 == local(store, host="rebound.example").get(f"{ROOT}/").status_code
    for header in ({"x-forwarded-for": "203.0.113.7"}, {"forwarded": "for=203.0.113.7"}):
        assert 403 == local(store).get(f"{ROOT}/", headers=header).status_code


# ---------------------------------------------------------------------- where it is mounted


@pytest.mark.parametrize("prefix", ["", "/a", "/a/b c"])
def test_links_have_the_path_of_the_mount(store: Store, prefix: str) -> None:
    site = site_of(store)
    inner = site.client.app.routes[0].app  # type: ignore[attr-defined]
    outer = Starlette(routes=[Mount(prefix or "/", inner)])
    client = TestClient(outer, root_path="/proxy", raise_server_exceptions=True)

    page = client.get(f"/proxy{prefix}/jobs").text

    links = re.findall(r'(?:href|src|action|formaction)="([^"]*)"', page)
    expected = "/proxy" + prefix.replace(" ", "%20")
    assert links
    assert [] == [each for each in links if not each.startswith((f"{expected}/", "#"))]


@pytest.mark.parametrize("path", ["/jobs/", "/jobs//", "/jobs/x y/"])
def test_a_slash_at_the_end_is_taken_away_by_a_path(store: Store, path: str) -> None:
    answer = site_of(store).get(f"{path}?q=state:failed")

    expected = f"{ROOT}{path.rstrip('/').replace(' ', '%20')}?q=state:failed"
    assert (307, expected) == (answer.status_code, answer.headers["location"])


def test_a_path_with_two_slashes_leads_nowhere_else(store: Store) -> None:
    inner = site_of(store).client.app.routes[0].app  # type: ignore[attr-defined]
    client = TestClient(inner, base_url=f"http://{HOST}", follow_redirects=False)

    answer = client.get("http://app.example.org//evil.example/x/")

    assert "/evil.example/x" == answer.headers["location"]


def test_static_files_are_small_and_cached(store: Store) -> None:
    site = site_of(store, authorize=lambda request: None)
    page = site_of(store).get("/").text
    paths = set(re.findall(r'(?:href|src)="([^"]*/static/[^"]*)"', page))
    answers = [site.client.get(path) for path in paths]

    assert 4 == len(answers)
    assert {200} == {each.status_code for each in answers}
    assert sum(len(each.content) for each in answers) < 60 * 1024
    assert all("immutable" in each.headers["cache-control"] for each in answers)


def test_htmx_is_the_file_that_its_licence_names() -> None:
    licence = (FOLDER / "htmx.LICENSE.txt").read_text("utf-8")
    digest = hashlib.sha256((FOLDER / "htmx.min.js").read_bytes()).hexdigest()

    assert digest in licence
    assert "Zero-Clause BSD" in licence


def test_there_is_no_other_file(store: Store) -> None:
    site = site_of(store)

    for path in ("/static", "/static/x/afterword.css", "/static/../access.py", "/static/%2e%2e"):
        assert 404 == site.get(path).status_code


def test_a_web_socket_is_closed(store: Store) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), site_of(store).client.websocket_connect(f"{ROOT}/"):
        pass
