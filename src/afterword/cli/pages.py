"""Walking through a store: pages of jobs, and ids that were typed in part."""

import re
from collections.abc import Iterator

from afterword.cli.exit_code import NotFound
from afterword.errors import ConfigurationError
from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.store.protocol import Store

PAGE = 500  # jobs
_SHORTEST = 8  # characters of an id that are taken for its beginning
_SHAPE = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
_ID = re.compile(_SHAPE.replace("x", "[0-9a-f]"))


def pages(
    store: Store, wanted: Filter, before: str | None = None, size: int = PAGE
) -> Iterator[list[JobRecord]]:
    """The jobs that match, newest first; each page is one look, and none is held open."""
    while page := list(store.find(wanted, size, before)):
        yield page
        before = page[-1].id


def newest(store: Store, wanted: Filter, limit: int, before: str | None = None) -> list[JobRecord]:
    """The newest jobs that match, `limit` at most."""
    found: list[JobRecord] = []
    for page in pages(store, wanted, before, min(limit, PAGE)):
        found += page[: limit - len(found)]
        if len(found) == limit:
            break
    return found


def full_id(store: Store, typed: str) -> str | None:
    """The id that was typed, or of which the beginning was; None if it cannot be one.

    Raises:
        ConfigurationError: several jobs have ids that begin so.
    """
    beginning = typed.strip().lower()
    if _ID.fullmatch(beginning):
        return beginning
    if not _begins_an_id(beginning):
        return None
    # Ids sort: jobs whose ids begin so, if there are any, have the last such id, or come below it.
    last = beginning + _SHAPE[len(beginning) :].replace("x", "f")
    candidates = [*store.get([last]), *store.find(limit=2, before=last)]
    found = [job.id for job in candidates if job.id.startswith(beginning)]
    if len(found) > 1:
        raise ConfigurationError(
            f"The beginning of an id must be that of one job only, but several begin with"
            f" {beginning}. Type more of it."
        )
    return found[0] if found else None


def one(store: Store, typed: str) -> JobRecord:
    """The job that was asked for.

    Raises:
        NotFound: there is none.
    """
    job_id = full_id(store, typed)
    found = store.get([job_id]) if job_id else ()
    if not found:
        raise NotFound(f"There is no job {typed} in {store.url}. It may have been purged.")
    return found[0]


def known_id(store: Store, typed: str | None) -> str | None:
    """The whole id that an option means; None if it was not given.

    Raises:
        ConfigurationError: no job's id is or begins so.
    """
    if typed is None:
        return None
    found = full_id(store, typed)
    if found is None:
        raise ConfigurationError(
            f"An id is 36 characters, or 8 and more of the beginning of one that exists, not"
            f" {typed!r}. `afterword jobs` lists them."
        )
    return found


def _begins_an_id(text: str) -> bool:
    filled = text + _SHAPE[len(text) :].replace("x", "0")
    return _SHORTEST <= len(text) < len(_SHAPE) and bool(_ID.fullmatch(filled))
