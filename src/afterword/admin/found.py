"""Pages of the jobs that a search finds. No search reads more than a window of jobs at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from afterword.admin.ids import full_id
from afterword.admin.search import Search
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter
from afterword.store.paging import PAGE, pages
from afterword.store.protocol import Store

WINDOW = 10_000  # jobs that the store looks at for a page, if no index finds those that match
READ = 1_000  # jobs that are read here for a page, if the store cannot decide

# Fields of a filter that no index serves in both stores, however many jobs there are.
_SLOW = ("task", "queue", "worker", "tag", "tenant", "error", "request_id")


@dataclass(frozen=True, slots=True)
class Found:
    """A page of jobs, newest first.

    Args:
        older: the id before which the next page begins; None: there is none.
        cut: True if the page is not full because its window has ended.
    """

    jobs: list[JobRecord]
    older: str | None = None
    cut: bool = False


def find(
    store: Store,
    search: Search,
    limit: int,
    before: str | None = None,
    *,
    unbounded: bool = False,
) -> Found:
    """Return the newest jobs that match, from before this id.

    Args:
        unbounded: True looks at all jobs, however long that takes.

    Raises:
        ConfigurationError: several jobs have an id that was typed in part.
    """
    if search.ids:
        return Found([job for job in _named(store, search) if before is None or job.id < before])
    below = None if unbounded else window_of(store, search.filter, before)
    wanted = replace(search.filter, above=below)
    if search.reads_jobs:
        return _read(store, replace(search, filter=wanted), limit, before, below)
    jobs = list(store.find(wanted, limit + 1, before))
    if len(jobs) > limit:
        return Found(jobs[:limit], jobs[limit - 1].id)
    return Found(jobs, _behind(below), cut=below is not None)


def window_of(store: Store, wanted: Filter, before: str | None = None) -> str | None:
    """Return the id below the window of a search; None if it needs none, or all are inside."""
    if not is_slow(wanted):
        return None
    return store.window(WINDOW, before, wanted.state)


def _behind(below: str | None) -> str | None:
    """Return the id before which the next window begins."""
    return None if below is None else next_id(below)


def next_id(job_id: str) -> str:
    """Return the id behind this one in their order.

    >>> next_id("015d3ef7-9800-7000-8000-0000000000ff")
    '015d3ef7-9800-7000-8000-000000000100'
    """
    return _id_at(job_id, 1)


def _id_at(job_id: str, distance: int) -> str:
    number = f"{max(0, int(job_id.replace('-', ''), 16) + distance):032x}"[-32:]
    return f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}"


def _named(store: Store, search: Search) -> list[JobRecord]:
    ids = {full_id(store, typed) for typed in search.ids}
    found = (
        job for each in sorted(filter(None, ids), reverse=True) for job in _one(store, search, each)
    )
    return [job for job in found if search.matches(job)]


def _one(store: Store, search: Search, job_id: str) -> Sequence[JobRecord]:
    """Return the job with this id if the filter lets it through."""
    return store.find(replace(search.filter, above=_id_at(job_id, -1)), 1, next_id(job_id))


def _read(store: Store, search: Search, limit: int, before: str | None, below: str | None) -> Found:
    """Read jobs until the page is full or the window is."""
    jobs: list[JobRecord] = []
    read = 0
    for page in pages(store, search.filter, before, PAGE):
        for job in page:
            if search.matches(job):
                jobs.append(job)
                if len(jobs) == limit:
                    return Found(jobs, job.id)
        read += len(page)
        if read >= READ:
            return Found(jobs, page[-1].id, cut=True)
    return Found(jobs, _behind(below), cut=below is not None)


def every(
    store: Store, search: Search, limit: int, before: str | None = None
) -> Iterator[JobRecord]:
    """Yield the jobs that match, newest first, at most `limit`, from before this id."""
    while limit > 0:
        found = find(store, search, min(PAGE, limit), before, unbounded=True)
        yield from found.jobs
        limit -= len(found.jobs)
        before = found.older
        if before is None:
            return


def is_slow(wanted: Filter) -> bool:
    """Return True if a search looks at a window of jobs."""
    return any(getattr(wanted, name) is not None for name in _SLOW)


def counts(
    store: Store, wanted: Filter, limit: int, states: Iterable[JobState] = JobState
) -> dict[JobState, tuple[int, bool]]:
    """Count the jobs of these states up to a limit; True: there may be more."""
    if not is_slow(wanted):
        numbers = store.count(replace(wanted, state=None), limit + 1)
        return {state: (min(numbers[state], limit), numbers[state] > limit) for state in states}
    known = {}
    for state in states:
        below = window_of(store, replace(wanted, state=state))
        one = replace(wanted, state=state, above=below)
        number = store.count(one, limit + 1)[state]
        known[state] = min(number, limit), number > limit or below is not None
    return known
