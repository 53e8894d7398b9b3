"""A site whose next request adds the calls of a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from afterword import JobState
from afterword.starlette import BackgroundTasks
from tests.helpers import wait_until
from tests.sites import Site, serving

PATIENCE = 90.0  # seconds: a worker of another system needs some to start on a busy machine
Add = Callable[[BackgroundTasks], Any]
_calls: list[Add] = []


class Fleet(Site):
    """A site that hands jobs over."""

    __slots__ = ()

    def states(self) -> list[JobState]:
        wait_until(self._all_ended, description="every job has ended", timeout=PATIENCE)
        return [job.state for job in self.jobs()]


async def _add(request: Request) -> JSONResponse:
    tasks = BackgroundTasks()
    jobs = [call(tasks) for call in _calls]
    return JSONResponse([job.id for job in jobs], background=tasks)


def post(site: Site, *calls: Add) -> list[str]:
    """Add these calls in one request, and return the ids of their jobs."""
    _calls[:] = calls
    ids: list[str] = site.client.post("/").json()
    return ids


@contextmanager
def serving_fleet(
    folder: Path, *, tasks: list[ModuleType], started: bool = True, **options: Any
) -> Iterator[Fleet]:
    """Serve an application that may add tasks of these modules."""
    app = Starlette(routes=[Route("/", _add, methods=["POST"])])
    with serving(app, folder, started=started, tasks=tasks, **options) as site:
        yield Fleet(site.client, site.afterword, site.started)
