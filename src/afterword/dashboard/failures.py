"""The screen Failures: groups of failed jobs, with their numbers, times and changes."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from afterword.admin.changes import CHANGES
from afterword.admin.failures import failures, parked, search_of
from afterword.admin.search import Search
from afterword.admin.words import many
from afterword.dashboard.chart import sparkline
from afterword.dashboard.command import command
from afterword.dashboard.jobs import done, searched
from afterword.dashboard.view import Page, View
from afterword.errors import ConfigurationError
from afterword.model.failures import FailureGroup, Failures
from afterword.model.job import JobState

_GROUPS = 50  # that are shown
_PARKED = 500  # newest jobs that no worker could run, which are looked at
_NOTHING = Failures((), 0, True)


@dataclass(frozen=True, slots=True)
class Row:
    """A group of failures, as it is shown.

    Args:
        id: unique on the page, and the same as long as the group exists.
        search: finds its jobs.
        hours: how many failed in each of the last 24 hours, drawn.
    """

    id: str
    group: FailureGroup
    search: str
    hours: Markup


def show(view: View) -> Page:
    """Show the failed jobs in groups, and below them those that no worker could run so far."""
    typed = view.asked("q")
    try:
        search = searched(view, typed)
        failed = _asked(view, "failures", search, failures)
        waiting = _asked(view, "parked", search, partial(parked, now=view.now, limit=_PARKED))
    except ConfigurationError as error:
        return _page(view, Search(text=typed), _NOTHING, _NOTHING, mistake=str(error))
    return _page(view, search, failed, waiting)


def _asked(view: View, question: str, search: Search, ask: Callable[..., Failures]) -> Failures:
    """Ask the store; pages without a search share an answer that took long."""
    if search.text or view.asked("did"):
        return ask(view.store, search)
    return view.recent.get(question, lambda: ask(view.store, search))


def _page(
    view: View, search: Search, failed: Failures, waiting: Failures, *, mistake: str = ""
) -> Page:
    query = search.text
    return Page(
        template="failures.html",
        title="Failures",
        live=not mistake,
        live_url=view.url("/failures", q=query),
        values={
            "query": query,
            "mistake": mistake,
            "failed": failed,
            "rows": _rows(failed, query, JobState.FAILED),
            "more": max(0, len(failed.groups) - _GROUPS),
            "waiting": waiting,
            "parked": _rows(waiting, query, JobState.QUEUED),
            "changes": [CHANGES[name] for name in ("retry", "delete") if view.may(name)],
            "done": done(view),
            "command": command("failures", search=query),
        },
    )


def _rows(found: Failures, query: str, state: JobState) -> Sequence[Row]:
    return [
        Row(
            id=f"{state}-{zlib.crc32(f'{group.task} {group.error}'.encode()):x}",
            group=group,
            search=search_of(group, query, state),
            hours=sparkline(group.hours, _in_words(group), "bad"),
        )
        for group in found.groups[:_GROUPS]
    ]


def _in_words(group: FailureGroup) -> str:
    recent, last = sum(group.hours), group.hours[-1]
    return f"{many(recent, 'job')} in the last 24 hours, {last:,} in the present one"
