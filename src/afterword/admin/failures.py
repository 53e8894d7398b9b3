"""Failures, in groups: those of one task with the same kind of error.

What differs from job to job does not count: numbers, ids, addresses, and quoted text. A group has
the name of its kind of error, and the search `group:NAME` finds its jobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from afterword.admin.document import document
from afterword.admin.found import window_of
from afterword.admin.search import Search, is_named, word, words_of
from afterword.errors import ConfigurationError
from afterword.model.failures import (
    TAIL,
    FailureGroup,
    Failures,
    common_text,
    digest_of,
    grouped,
)
from afterword.model.job import JobState
from afterword.store.paging import every
from afterword.store.protocol import NEWEST_FAILURES, Store

_LONG = 500  # characters of a group's name in a search; longer ones are not for people
_PART = 60  # characters of a text in all of its errors, which narrows a search for a digest


def failures(
    store: Store, search: Search, limit: int = NEWEST_FAILURES, *, unbounded: bool = False
) -> Failures:
    """Group the newest failed jobs that match, the largest group first.

    Args:
        limit: how many jobs are read at most.
        unbounded: True looks for them among all jobs, however long that takes.

    Raises:
        ConfigurationError: the search is for ids, arguments, or another state.
    """
    _require_groups(search)
    failed = replace(search.filter, state=JobState.FAILED)
    below = None if unbounded else window_of(store, failed)
    found = store.failures(replace(failed, above=below), limit)
    return replace(_named(found, search), all=found.all and below is None)


def parked(store: Store, search: Search, now: float, limit: int = NEWEST_FAILURES) -> Failures:
    """Group the newest queued jobs that match and that no worker could run so far.

    Their times are those since when that is so.

    Args:
        now: seconds since 1970. Not `Store.now`, which only the store's thread may ask.
    """
    _require_groups(search)
    found = islice(every(store, replace(search.filter, parked=True)), limit)
    jobs = [
        (job.id, job.task, (job.parked_at or job.created_at).timestamp(), (job.error or "")[-TAIL:])
        for job in found
    ]
    return _named(grouped(jobs, limit, now), search)


def _require_groups(search: Search) -> None:
    state = search.filter.state
    if search.ids or search.arguments or state not in (None, JobState.FAILED):
        wrong = "id:" if search.ids else "arg." if search.arguments else f"state:{state}"
        raise ConfigurationError(
            "Groups of failures can be narrowed by task, queue, worker, tag, request, error, group"
            f" and since, but this search has {wrong}. Use `afterword jobs`, or the list of jobs."
        )


def _named(found: Failures, search: Search) -> Failures:
    """Leave out the groups with another name than the one that is searched for."""
    if search.group is None:
        return found
    return replace(found, groups=tuple(g for g in found.groups if is_named(g.error, search.group)))


def search_of(group: FailureGroup, text: str = "", state: JobState = JobState.FAILED) -> str:
    """Write the search that finds the jobs of a group.

    Args:
        text: the search by which the group was found, which narrows it.
        state: the state of its jobs.
    """
    named = ("task:", "state:", "group:")
    others = [each for each in words_of(text) if not each.lower().startswith(named)]
    return " ".join([*others, word("task", group.task), f"state:{state}", _named_in(group, others)])


def _named_in(group: FailureGroup, others: Sequence[str]) -> str:
    """Write the words for the name of a group: the name, or its digest if it is long."""
    name = word("group", group.error)
    if len(name) <= _LONG:
        return name
    digest = f"group:{digest_of(group.error)}"
    text = (common_text(group.error) or "")[:_PART].strip()
    narrowed = not text or any(each.lower().startswith("error:") for each in others)
    return digest if narrowed else f"{word('error', text)} {digest}"  # the store finds it


def failure_document(group: FailureGroup, state: JobState) -> Mapping[str, Any]:
    """Convert a group for programs; its jobs are in this state."""
    known = {"state": state, **document(group), "error": group.error, "count": group.count}
    del known["ids"]  # there may be thousands
    return {**known, "example": group.example}


# ---------------------------------------------------------------------- lines of an error


_HEADER = "Traceback (most recent call last):"


def last_line(error: str | None) -> str:
    """Return the last line that is not empty; in a traceback, the exception.

    >>> last_line("Traceback ...\\nValueError: no such order\\n\\n")
    'ValueError: no such order'
    """
    lines = [line.strip() for line in (error or "").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def first_and_last_line(error: str | None) -> str:
    """Summarize an error on one line; the header of a traceback is left out.

    >>> first_and_last_line("Traceback (most recent call last):\\n  in pack\\nValueError: no")
    'ValueError: no'
    >>> first_and_last_line("the parcel is lost:\\nit was here\\nask the post office")
    'the parcel is lost: ... ask the post office'
    """
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    first, last = (lines[0], lines[-1]) if lines else ("", "")
    return last if first in (last, _HEADER) else f"{first} ... {last}"
