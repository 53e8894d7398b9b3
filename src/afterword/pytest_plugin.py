"""The pytest plugin: a request waits for its tasks.

So an assertion may follow the request at once, whether the application is started or not:

    def test_signup():
        with TestClient(app) as client:
            client.post("/signup")
        assert mails == ["welcome"]

Arguments go through the real encoding, jobs through a real store. By default the store is a file in
a temporary directory of the test run; `AFTERWORD_URL` or the application can set another one.
Disable the plugin with `-p no:afterword`.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterword.app import Afterword


def pytest_configure(config: pytest.Config) -> None:
    """Make every application of this run wait, and keep its jobs out of the working directory."""
    waiting = _waiting()
    next(waiting)
    config.add_cleanup(lambda: next(waiting, None))


def _waiting() -> Iterator[None]:
    given = os.environ.get("AFTERWORD_URL")
    with tempfile.TemporaryDirectory(prefix="afterword-") as folder:
        os.environ["AFTERWORD_URL"] = given or f"sqlite:///{Path(folder) / 'jobs.db'}"
        Afterword.waits_for_tasks = True
        yield
        Afterword.waits_for_tasks = False
        if given is None:
            del os.environ["AFTERWORD_URL"]
