"""`afterword dashboard`: the token, the host, and the permissions."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from afterword.store.opening import open_store
from afterword.store.protocol import Store
from tests import warm
from tests.command_line import COMMAND, new_url
from tests.stores import opened


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open, empty store, once for each kind."""
    with opened(new_url(request.param, tmp_path, request)) as store:
        yield store


@pytest.fixture
def url(request: pytest.FixtureRequest, store: Store) -> str:
    """The URL of the store, for a command."""
    if store.url.startswith("sqlite"):
        return store.url
    return str(request.getfixturevalue("shared_url"))


@contextmanager
def dashboard(url: str, *options: str) -> Iterator[str]:
    """Run the command; returns it and the URL that it prints."""
    command = [COMMAND, "dashboard", "--url", url, "--port", "0", *options]
    with warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield line.strip()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) in (0, 130, -signal.SIGINT)


def test_the_printed_url_lets_in_and_nothing_else_does(url: str) -> None:
    with dashboard(url) as entry, httpx.Client(timeout=60) as browser:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", entry)
        base = entry.partition("?")[0]
        refused = [
            httpx.get(base, timeout=60),
            httpx.get(f"{base}jobs?token=wrong", timeout=60),
            httpx.get(base, cookies={"afterword": "x"}, timeout=60),
            httpx.post(f"{base}jobs/change/delete", headers={"authorization": "x"}, timeout=60),
        ]
        entered = browser.get(entry)
        again = browser.get(entry)
        screen = browser.get(f"{base}jobs")
        rebound = browser.get(f"{base}jobs", headers={"host": "rebound.example"})

    assert [403] * 4 == [each.status_code for each in refused]
    assert (303, "/") == (entered.status_code, entered.headers["location"])
    assert "httponly" in entered.headers["set-cookie"].lower()
    assert "samesite=strict" in entered.headers["set-cookie"].lower()
    assert (303, "/") == (again.status_code, again.headers["location"])
    assert 200 == screen.status_code
    assert 400 == rebound.status_code


@pytest.mark.parametrize("options", [(), ("--read-only",)])
def test_read_only_offers_no_changes(store: Store, url: str, options: tuple[str, ...]) -> None:
    from tests.dashboard.population import Population

    job_id = Population(store).add(arguments='{"to": "ada"}')
    headers = {"sec-fetch-site": "same-origin"}
    with dashboard(url, *options) as entry, httpx.Client(headers=headers, timeout=60) as browser:
        base = entry.partition("?")[0]
        browser.get(entry)
        screen = browser.get(f"{base}jobs/{job_id}")
        copied = browser.post(f"{base}jobs/{job_id}/copy", data={"a": "b"})
        deleted = browser.post(f"{base}jobs/change/delete", data={"id": job_id})

    assert "ada" in screen.text
    assert bool(options) is ("Run a copy" not in screen.text)
    assert [403 if options else 303] * 2 == [copied.status_code, deleted.status_code]
    assert 1 == len(store.find())


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = warm.run(
        [COMMAND, "dashboard", "--url", f"sqlite:///{tmp_path / 'none.db'}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert 5 == done.returncode
    assert [] == list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    made = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    made.open()
    made.close()
    without = "import sys; sys.modules['jinja2'] = None; from afterword.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "dashboard", "--url", made.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert 2 == done.returncode
    assert 'pip install "afterword[dashboard]"' in done.stderr
