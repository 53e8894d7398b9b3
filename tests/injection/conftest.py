"""Fixtures for injection: an application, and its injectors."""

import sys
from importlib.util import find_spec

import pytest
from fastapi import FastAPI

from afterword.injection.injectors import injection_of
from afterword.injection.needs import Injection
from tests.injection.depending import Context, Log

# The environment with the oldest FastAPI lacks both packages.
collect_ignore = [
    file
    for package, file in (
        ("wireup", "test_wireup.py"),
        ("wireup", "test_wireup_page.py"),
        ("wireup", "test_elsewhere.py"),
        ("wireup", "test_start.py"),
        ("wireup", "test_injected_default.py"),
        ("dishka", "test_dishka.py"),
    )
    if find_spec(package) is None
]


@pytest.fixture
def app() -> FastAPI:
    """A FastAPI application."""
    return FastAPI()


@pytest.fixture
def injection(app: FastAPI) -> Injection:
    """The injection of the application, with the frameworks that it uses."""
    return injection_of(app, builtin_types=[Context], lifespan_state=lambda: {"pool": "the pool"})


@pytest.fixture
def log() -> Log:
    """A log of events."""
    return Log()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of tasks that forgets those of the test."""
    for name in ("_registered", "_options"):
        kept = getattr(sys.modules["afterword.tasks.registry"], name)
        monkeypatch.setattr(sys.modules["afterword.tasks.registry"], name, dict(kept))
