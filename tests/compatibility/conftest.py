"""Fixtures that try each behaviour with the lifespan, and with a bare client that never runs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.sites import Site, serving

Serve = Callable[..., Site]


def _serving(folder: Path, started: bool) -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(app: Starlette, **options: object) -> Site:
            site = serving(app, folder, started=started, **options)  # type: ignore[arg-type]
            return stack.enter_context(site)

        yield serve


@pytest.fixture(params=[True, False], ids=["started", "bare"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Serve an application, in both modes."""
    yield from _serving(tmp_path, started=request.param)


@pytest.fixture
def serve_started(tmp_path: Path) -> Iterator[Serve]:
    """Serve an application whose lifespan has run."""
    yield from _serving(tmp_path, started=True)


@pytest.fixture
def serve_bare(tmp_path: Path) -> Iterator[Serve]:
    """Serve an application whose lifespan never runs."""
    yield from _serving(tmp_path, started=False)
