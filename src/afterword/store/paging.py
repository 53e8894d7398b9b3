"""Pages of jobs: reads more jobs than one query of a store should return."""

from collections.abc import Iterator

from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.store.protocol import Store

PAGE = 500  # jobs


def pages(
    store: Store, wanted: Filter, before: str | None = None, size: int = PAGE
) -> Iterator[list[JobRecord]]:
    """Yield pages of the jobs that match, newest first; each page is a query of its own."""
    while page := list(store.find(wanted, size, before)):
        yield page
        before = page[-1].id


def every(store: Store, wanted: Filter) -> Iterator[JobRecord]:
    """Yield all jobs that match, newest first."""
    for page in pages(store, wanted):
        yield from page
