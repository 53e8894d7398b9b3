"""Fixtures of the guide: an application, and a file for its jobs."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from afterword import Afterword


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store: a SQLite file, which the first process that uses it creates."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def app() -> FastAPI:
    """Your application."""
    return FastAPI()


@pytest.fixture
def afterword(app: FastAPI, url: str) -> Afterword:
    """An Afterword that gives the application a store, and a worker in its own process."""
    return Afterword(app, url)
