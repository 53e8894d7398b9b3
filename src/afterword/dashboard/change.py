"""Changes of jobs: a page that shows the effect, and the change itself.

A change is made to a selection of jobs, or to all that match a search. The page before a change
shows the scope, the number and a few samples. A large change is made in parts: each request changes
jobs for two seconds, and then offers to continue.
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
from afterword.dashboard.jobs import id_in, results_in, searched
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


@dataclass(frozen=True, slots=True)
class Place:
    """The place where a change continues: the jobs of a state, before an id."""

    state: JobState
    before: str | None = None


def confirm(view: View) -> Page:
    """Show what a change would do; nothing is changed yet."""
    scope = _scope_of(view)
    count, (samples, more) = _count(view, scope), _samples(view, scope)
    return Page(
        template="confirm.html",
        title=f"{scope.change.name.capitalize()} jobs",
        values={
            "scope": scope,
            "change": scope.change,
            "count": count,
            "nothing": count == "0" or not (samples or more or count.endswith("+")),
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
    by = by_search(view.by, scope.search, scope.states) if scope.all else view.by
    for ids, next_place in _parts(view, scope):
        if ids:
            report.update(each or "refused" for each in scope.change.apply(view.store, ids, by))
        if next_place and time.monotonic() > until:
            return _unfinished(view, scope, report, next_place)
    results = {result.replace(" ", "_"): count for result, count in report.items() if count}
    return Redirect(_back(view, did=scope.change.name, **results))


# ---------------------------------------------------------------------- the scope


def _scope_of(view: View) -> Scope:
    change = CHANGES[view.screen.removeprefix("confirm_")]
    ids = list(dict.fromkeys(view.asked_list("id")))
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


def _samples(view: View, scope: Scope) -> tuple[list[JobRecord], bool]:
    """Return the newest jobs, and True if there may be others that were not looked at."""
    if scope.ids:
        return list(view.store.get(scope.ids[:SAMPLES])), False
    pages = [find(view.store, scope.search.in_state(each), SAMPLES) for each in scope.states]
    found = sorted((job for page in pages for job in page.jobs), key=_id, reverse=True)
    return found[:SAMPLES], any(page.cut for page in pages)


def _id(job: JobRecord) -> str:
    return job.id


def _command(scope: Scope) -> str:
    if scope.ids:
        return command(scope.change.name, *scope.ids)
    return command(scope.change.name, all=True, search=scope.search.text)


def _back(view: View, **query: object) -> str:
    """Return to the job or the failures if the change began there, and else to the list."""
    job_id = id_in(view, "job")
    if job_id and query.get("deleted") is None:
        return view.url(f"/jobs/{job_id}", **query)
    if view.asked("back") == "failures":
        return view.url("/failures", q=view.asked("within"), **query)
    return view.url("/jobs", q=view.asked("q"), **query)


# ---------------------------------------------------------------------- in parts


def _parts(view: View, scope: Scope) -> Iterator[tuple[list[str], Place | None]]:
    """Yield the ids to be changed, in batches, each with the place of the next batch.

    A batch may be empty: then none of the jobs that were looked at match.
    """
    if scope.ids:
        yield list(scope.ids), None
        return
    place = _place_of(view, scope)
    while place:
        search = scope.search.in_state(place.state)
        found = find(view.store, search, BATCH, place.before)
        place = _behind(scope, place, found.older)
        yield [job.id for job in found.jobs], place


def _place_of(view: View, scope: Scope) -> Place | None:
    """Return where the part before has ended, or the first place.

    Raises:
        ConfigurationError: it is none.
    """
    before, at = id_in(view, "before"), view.asked("at")
    if at and at not in scope.states:
        raise ConfigurationError(f"at must be a state of the jobs to be changed, but it is {at!r}.")
    states = [JobState(at)] if at else scope.states[:1]
    return next((Place(state, before) for state in states), None)


def _behind(scope: Scope, place: Place, older: str | None) -> Place | None:
    """Return the place behind a batch; None if it was the last one."""
    if older is not None:
        return Place(place.state, older)
    states = scope.states[scope.states.index(place.state) + 1 :]
    return Place(states[0]) if states else None


def _unfinished(view: View, scope: Scope, report: Counter[str], place: Place) -> Page:
    return Page(
        template="unfinished.html",
        title=f"{scope.change.name.capitalize()} jobs",
        values={
            "scope": scope,
            "change": scope.change,
            "report": report or {scope.change.results[0]: 0},
            "place": place,
            "action": view.url(f"/jobs/change/{scope.change.name}"),
            "back": _back(view),
        },
    )
