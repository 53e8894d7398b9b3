"""Reading a store: the newest jobs, and ids of which only the beginning or the end was typed."""

import re
from itertools import islice

from afterword.errors import AfterwordError, ConfigurationError
from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.store.paging import PAGE, every, pages
from afterword.store.protocol import Store

_SHORTEST = 8  # characters that the beginning or the end of an id must have
_READ_FOR_END = 10_000  # jobs
_SHAPE = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
_ID = re.compile(_SHAPE.replace("x", "[0-9a-f]"))


class NotFound(AfterwordError, LookupError):
    """Something was named that does not exist."""


def newest(store: Store, wanted: Filter, limit: int, before: str | None = None) -> list[JobRecord]:
    """Return the newest jobs that match, at most `limit`."""
    found: list[JobRecord] = []
    for page in pages(store, wanted, before, min(limit, PAGE)):
        found += page[: limit - len(found)]
        if len(found) == limit:
            break
    return found


def full_id(store: Store, typed: str) -> str | None:
    """Complete an id of which the beginning or the end was typed; None if there is no such job.

    A complete id is returned without a look at the store. The end is looked for among the newest
    10,000 jobs.

    Raises:
        ConfigurationError: several jobs have such ids.
    """
    part = typed.strip().lower()
    if _ID.fullmatch(part):
        return part
    return _by_beginning(store, part) or _by_end(store, part)


def _by_beginning(store: Store, beginning: str) -> str | None:
    if not _begins_an_id(beginning):
        return None
    # Ids sort, so every id with this beginning is at or below the last possible one.
    last = beginning + _SHAPE[len(beginning) :].replace("x", "f")
    candidates = [*store.get([last]), *store.find(limit=2, before=last)]
    found = [job.id for job in candidates if job.id.startswith(beginning)]
    if len(found) > 1:
        raise ConfigurationError(
            f"The beginning of an id must be that of one job only, but several ids begin with"
            f" {beginning}. Type more characters, or the last ones."
        )
    return found[0] if found else None


def _by_end(store: Store, end: str) -> str | None:
    if not _ends_an_id(end):
        return None
    ids = (job.id for job in islice(every(store, Filter()), _READ_FOR_END))
    found = [each for each in ids if each.endswith(end)]
    if len(found) > 1:
        raise ConfigurationError(
            f"The end of an id must be that of one job only, but several ids end with {end}."
            " Type more characters."
        )
    return found[0] if found else None


def one(store: Store, typed: str) -> JobRecord:
    """Return the job with this id, or with this beginning of its id.

    Raises:
        NotFound: there is none.
    """
    job_id = full_id(store, typed)
    found = store.get([job_id]) if job_id else ()
    if not found:
        raise NotFound(f"There is no job {typed} in {store.url}. {_reason(typed)}")
    return found[0]


def _reason(typed: str) -> str:
    """Say why there may be no job with this id."""
    if len(typed.strip()) < _SHORTEST:
        return f"An id must be whole, or its first or last {_SHORTEST} characters or more."
    return "It may have been deleted: jobs that have ended are kept for a while (retention)."


def known_id(store: Store, typed: str | None) -> str | None:
    """Complete the id of an option; None if the option was not given.

    Raises:
        ConfigurationError: no job has such an id.
    """
    if typed is None:
        return None
    found = full_id(store, typed)
    if found is None:
        raise ConfigurationError(
            f"An id must have 36 characters, or be the first or last 8 or more of one that exists,"
            f" but it is {typed!r}. `afterword jobs` lists them."
        )
    return found


def _ends_an_id(text: str) -> bool:
    filled = _SHAPE[: len(_SHAPE) - len(text)].replace("x", "0") + text
    return _SHORTEST <= len(text) < len(_SHAPE) and bool(_ID.fullmatch(filled))


def _begins_an_id(text: str) -> bool:
    filled = text + _SHAPE[len(text) :].replace("x", "0")
    return _SHORTEST <= len(text) < len(_SHAPE) and bool(_ID.fullmatch(filled))
