"""Stores for screens, and a mounted dashboard on one of them."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from afterword.admin.running import add_by
from afterword.dashboard import Source, dashboard
from afterword.model.clock import Clock
from afterword.store.protocol import Store
from tests.command_line import new_url
from tests.dashboard.browsing import chromium
from tests.stores import opened

ROOT = "/admin/jobs"
HOST = "app.example.org"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    with chromium() as browser:
        yield browser


@dataclass(frozen=True, slots=True)
class Site:
    """A dashboard that is mounted under `ROOT`.

    Args:
        store: the store behind it.
        client: a browser on its host, which follows no redirects.
    """

    store: Store
    client: TestClient

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a screen."""
        answer: httpx.Response = self.client.get(ROOT + path, headers=headers)
        return answer

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form, as a page of the dashboard does."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        headers = {"sec-fetch-site": "same-origin", **kind}
        answer: httpx.Response = self.client.post(ROOT + path, data=fields, headers=headers)
        return answer


MakeSite = Callable[..., Site]
Tasks = Callable[[], Collection[str]]


def site_of(store: Store, *, tasks: Tasks | None = None, **options: Any) -> Site:
    """Mount a dashboard over a store; `tasks` returns the names of an application's tasks."""
    source = Source(
        store=lambda: store,
        add=lambda job, by: add_by(store, job, by),
        clock=Clock(),
        tasks=tasks,
    )
    mounted = dashboard(source, **{"authorize": lambda request: "operate", **options})
    application = Starlette(routes=[Mount(ROOT, mounted)])
    client = TestClient(
        application,
        base_url=f"http://{HOST}",
        follow_redirects=False,
        client=("203.0.113.7", 50_000),
    )
    return Site(store, client)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Store]:
    """An open, empty store, once for each kind."""
    with opened(new_url(request.param, tmp_path, request)) as store:
        yield store


@pytest.fixture
def site(store: Store) -> Site:
    """A dashboard for an operator, once for each kind of store."""
    return site_of(store)
