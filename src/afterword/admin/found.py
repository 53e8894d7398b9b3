"""Pages of the jobs that a search finds. No search reads more than a window of jobs at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

from afterword.admin.ids import full_id
from afterword.admin.search import Search
from afterword.model.job import JobRecord
from afterword.store.paging import PAGE, pages
from afterword.store.protocol import Store

WINDOW = 5_000  # jobs that are read at a time for a search that the store cannot decide


@dataclass(frozen=True, slots=True)
class Found:
    """A page of jobs, newest first.

    Args:
        older: the id before which the next page begins; None: there is none.
        read: how many jobs were read before the page was full; None: it is full, or all were read.
    """

    jobs: list[JobRecord]
    older: str | None = None
    read: int | None = None


def find(store: Store, search: Search, limit: int, before: str | None = None) -> Found:
    """Return the newest jobs that match, from before this id.

    Raises:
        ConfigurationError: several jobs have an id that was typed in part.
    """
    if search.ids:
        return Found([job for job in _named(store, search) if before is None or job.id < before])
    if search.reads_jobs:
        return _read(store, search, limit, before)
    jobs = list(store.find(search.filter, limit + 1, before))
    return Found(jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None)


def _named(store: Store, search: Search) -> list[JobRecord]:
    ids = {full_id(store, typed) for typed in search.ids}
    found = store.get([each for each in ids if each])
    wanted = search.filter.state
    return [job for job in found if search.matches(job) and wanted in (None, job.state)]


def _read(store: Store, search: Search, limit: int, before: str | None) -> Found:
    """Read jobs until the page is full or the window is."""
    jobs: list[JobRecord] = []
    read, last = 0, before
    for page in pages(store, search.filter, before, PAGE):
        for job in page:
            last, read = job.id, read + 1
            if search.matches(job):
                jobs.append(job)
                if len(jobs) == limit:
                    return Found(jobs, last)
        if read >= WINDOW:
            return Found(jobs, last, read)
    return Found(jobs)


def every(
    store: Store, search: Search, limit: int, before: str | None = None
) -> Iterator[JobRecord]:
    """Yield the jobs that match, newest first, at most `limit`, from before this id."""
    left = limit
    while left > 0:
        found = find(store, search, min(PAGE, left), before)
        yield from found.jobs
        left -= len(found.jobs)
        before = found.older
        if before is None:
            return
