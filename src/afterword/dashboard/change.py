"""Changes of jobs: a page that says what would be changed, and the change itself.

What is changed is a selection of jobs, or all that match a search. The page before a change shows
the scope, the number and a few samples. A large change is made in parts: each request changes as
many as it can in two seconds, and then offers to go on.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from afterword.admin.changes import BATCH, CHANGES, Change, by_search, scope_of, states_of
from afterword.admin.failures import failures
from afterword.admin.found import counts, find
from afterword.admin.health import COUNT_LIMIT
from afterword.admin.search import Search
from afterword.admin.summary import note_on
from afterword.admin.words import at_least, many
from afterword.dashboard.command import command
from afterword.dashboard.jobs import results_in, searched
from afterword.dashboard.rendering import short_id
from afterword.dashboard.view import Answer, Page, Redirect, View
from afterword.errors import ConfigurationError
from afterword.model.job import JobRecord, JobState

SECONDS = 2.0  # for which one request changes jobs
SAMPLES = 5
_SELECTED = 500  # jobs that can be selected


@dataclass(frozen=True, slots=True)
class Scope:
    """The jobs of a change: those selected, or all that match."""

    change: Change
    ids: Sequence[str]
    search: Search
    states: Sequence[JobState]

    @property
    def all(self) -> bool:
        """True if no jobs were selected."""
        return not self.ids

    @property
    def words(self) -> str:
        """The scope in words."""
        if self.ids:
            return many(len(self.ids), "selected job")
        return scope_of(self.search, self.states)


def confirm(view: View) -> Page:
    """Show what a change would do; nothing is changed yet."""
    scope = _scope_of(view)
    samples = _samples(view, scope)
    return Page(
        template="confirm.html",
        title=f"{scope.change.name.capitalize()} jobs",
        values={
            "scope": scope,
            "change": scope.change,
            "count": _count(view, scope),
            "samples": view.all_shown(samples),
            "notes": {job.id: note_on(job, view.now, short_id) for job in samples},
            "command": _command(scope),
            "action": view.url(f"/jobs/change/{scope.change.name}"),
            "back": _back(view),
        },
    )


def carry_out(view: View) -> Answer:
    """Change the jobs, and return to where the change was asked for."""
    scope = _scope_of(view)
    report = Counter(results_in(view, scope.change))  # of the parts before
    until = time.monotonic() + SECONDS
    before = view.asked("before") or None
    by = by_search(view.by, scope.search, scope.states) if scope.all else view.by
    for ids in _parts(view, scope, before):
        report.update(each or "refused" for each in scope.change.apply(view.store, ids, by))
        before = ids[-1]
        if scope.all and time.monotonic() > until:
            return _unfinished(view, scope, report, before)
    results = {result.replace(" ", "_"): count for result, count in report.items() if count}
    return Redirect(_back(view, did=scope.change.name, **results))


# ---------------------------------------------------------------------- the scope


def _scope_of(view: View) -> Scope:
    change = CHANGES[view.screen.removeprefix("confirm_")]
    ids = view.asked_list("id")
    if len(ids) > _SELECTED:
        raise ConfigurationError(f"At most {_SELECTED} jobs can be selected at a time.")
    search = searched(view, view.asked("q"))
    if search.ids and not ids:
        ids = [job.id for job in find(view.store, search, _SELECTED).jobs]
    named = bool(ids or search.ids)
    return Scope(change, ids, search, [] if named else states_of(change, search))


def _count(view: View, scope: Scope) -> str:
    if scope.ids:
        return f"{len(scope.ids):,}"
    if scope.search.arguments:
        return ""  # not counted: every job would have to be read
    if scope.search.group is not None:
        return _count_group(view, scope)
    known = counts(view.store, scope.search.filter, COUNT_LIMIT, scope.states)
    number = sum(known[state][0] for state in scope.states)
    more = any(known[state][1] for state in scope.states)
    return at_least(number, more)


def _count_group(view: View, scope: Scope) -> str:
    """Count the jobs of groups of failures, among the newest ones."""
    if list(scope.states) != [JobState.FAILED]:
        return ""
    found = failures(view.store, scope.search)
    return at_least(sum(group.count for group in found.groups), not found.all)


def _samples(view: View, scope: Scope) -> list[JobRecord]:
    if scope.ids:
        return list(view.store.get(scope.ids[:SAMPLES]))
    found: list[JobRecord] = []
    for state in scope.states:
        found += find(view.store, scope.search.in_state(state), SAMPLES).jobs
    return sorted(found, key=lambda job: job.id, reverse=True)[:SAMPLES]


def _command(scope: Scope) -> str:
    if scope.ids:
        return command(scope.change.name, *scope.ids)
    return command(scope.change.name, all=True, search=scope.search.text)


def _back(view: View, **query: object) -> str:
    """Return to the job or the failures if the change began there, and else to the list."""
    job_id = view.asked("job")
    if job_id and query.get("deleted") is None:
        return view.url(f"/jobs/{job_id}", **query)
    if view.asked("back") == "failures":
        return view.url("/failures", q=view.asked("within"), **query)
    return view.url("/jobs", q=view.asked("q"), **query)


# ---------------------------------------------------------------------- in parts


def _parts(view: View, scope: Scope, before: str | None) -> Iterator[list[str]]:
    """Yield the ids to be changed, in batches."""
    if scope.ids:
        yield list(scope.ids)
        return
    for state in scope.states:
        cursor = before
        while True:
            found = find(view.store, scope.search.in_state(state), BATCH, cursor)
            if found.jobs:
                yield [job.id for job in found.jobs]
            cursor = found.older
            if cursor is None:
                break


def _unfinished(view: View, scope: Scope, report: Counter[str], before: str) -> Page:
    return Page(
        template="unfinished.html",
        title=f"{scope.change.name.capitalize()} jobs",
        values={
            "scope": scope,
            "change": scope.change,
            "report": report,
            "before": before,
            "action": view.url(f"/jobs/change/{scope.change.name}"),
            "back": _back(view),
        },
    )
