"""An application with its store and a client, started or not, and tasks that leave a trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from afterword import Afterword, JobRecord, JobState
from tests.at_work import url_in
from tests.helpers import wait_until

noted: list[str] = []


def note(text: str) -> None:
    """Leave a trace, in a `def` task."""
    noted.append(text)


async def note_async(text: str) -> None:
    """Leave a trace, in an `async def` task."""
    noted.append(text)


def fail(text: str) -> None:
    """Leave a trace, then raise."""
    noted.append(text)
    raise RuntimeError(text)


@dataclass(slots=True)
class Site:
    """A served application; if `started`, its lifespan runs, so its tasks are durable."""

    client: TestClient
    afterword: Afterword
    started: bool

    def jobs(self) -> list[JobRecord]:
        """Return the jobs in the order of adding; none if the store is not open."""
        if not self.started:
            return []
        return sorted(self.afterword.runtime.store.find(), key=lambda job: job.id)

    def states(self) -> list[JobState]:
        """Wait until all jobs have ended; returns their states."""
        wait_until(self._all_ended, description="every job has ended")
        return [job.state for job in self.jobs()]

    def _all_ended(self) -> bool:
        return all(job.state.final for job in self.jobs())

    def ran(self) -> list[str]:
        """Wait until all jobs have ended; returns the notes of the tasks."""
        self.states()
        return list(noted)


@contextmanager
def serving(
    app: Starlette,
    folder: Path,
    *,
    started: bool = True,
    raise_server_exceptions: bool = True,
    url: str | None = None,
    **options: Any,
) -> Iterator[Site]:
    """Give the application an Afterword with these options, and a client.

    Args:
        url: the store; None for a file in the folder.
    """
    noted.clear()
    afterword = Afterword(app, url or url_in(folder), **options)
    client = TestClient(app, raise_server_exceptions=raise_server_exceptions)
    with client if started else nullcontext():
        yield Site(client, afterword, started)
