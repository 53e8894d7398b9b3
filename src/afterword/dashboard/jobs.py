"""The list of jobs: a search, tabs by state, pages."""

from dataclasses import dataclass, replace
from uuid import UUID

from afterword.admin.changes import CHANGES, Change
from afterword.admin.found import counts, find, is_slow, next_id
from afterword.admin.health import COUNT_LIMIT
from afterword.admin.search import QUALIFIERS, Search, parse
from afterword.admin.summary import note_on
from afterword.admin.words import at_least
from afterword.dashboard.command import command
from afterword.dashboard.rendering import short_id, state_in_words
from afterword.dashboard.view import Page, View
from afterword.errors import ConfigurationError
from afterword.model.job import JobRecord, JobState

PAGE = 50  # jobs
EXPORTED = 100_000  # jobs at most
_NEWS = 100  # new jobs are counted up to this


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the list; `count` is empty if it would take too long to count."""

    name: str
    query: str
    count: str
    current: bool


def show(view: View) -> Page:
    """Show a page of the jobs that match a search."""
    typed = view.asked("q")
    try:
        search = searched(view, typed)
    except ConfigurationError as error:
        return _page(view, Search(text=typed), [], mistake=str(error))
    before, top = id_in(view, "before"), id_in(view, "from")
    found = find(view.store, search, PAGE, before or (next_id(top) if top else None))
    return _page(
        view,
        search,
        found.jobs,
        older=found.older,
        cut=found.cut,
        before=before,
        top=top or (found.jobs[0].id if found.jobs else None),
        news=_news(view, search, top) if top and not before else 0,
    )


def searched(view: View, text: str) -> Search:
    """Parse a search; a search for arguments needs the permission to see them.

    Raises:
        ConfigurationError: it is not understood.
        Forbidden: it needs a permission.
    """
    search = parse(text, view.now)
    if search.arguments:
        view.require("arguments")
    # The store of a tenant has no other jobs; the filter says so, too, because the search needs a
    # window then.
    return replace(search, filter=replace(search.filter, tenant=view.tenant))


def _page(
    view: View,
    search: Search,
    jobs: list[JobRecord],
    *,
    mistake: str = "",
    older: str | None = None,
    cut: bool = False,
    before: str | None = None,
    top: str | None = None,
    news: int = 0,
) -> Page:
    query = search.text
    return Page(
        template="jobs.html",
        title="Jobs",
        live=not mistake,
        live_url=view.url("/jobs", q=query, **{"before": before} if before else {"from": top}),
        values={
            "search": search,
            "query": query,
            "mistake": mistake,
            "jobs": view.all_shown(jobs),
            "notes": {job.id: note_on(job, view.now, short_id) for job in jobs},
            "tabs": [] if mistake else _tabs(view, search),
            "older": view.url("/jobs", q=query, before=older) if older else "",
            "cut": cut,
            "newest": view.url("/jobs", q=query),
            "first_page": before is None,
            "news": news,
            "news_limit": _NEWS,
            "changes": [each for each in CHANGES.values() if view.may(each.name)],
            "qualifiers": QUALIFIERS,
            "most": EXPORTED,
            "done": done(view),
            "command": command("jobs", search=query) if query else command("jobs"),
        },
    )


def _tabs(view: View, search: Search) -> list[Tab]:
    """Return the tabs: all jobs, and one for each state."""
    counted = not search.reads_jobs and not search.ids
    everything = search.in_state(None)
    # A search without an index counts only what is shown: each state takes a window of its own.
    some = [search.filter.state] if is_slow(search.filter) else list(JobState)
    states = [each for each in some if each and counted]
    known = counts(view.store, everything.filter, COUNT_LIMIT, states)
    tabs = [Tab("all", everything.text, "", search.filter.state is None)]
    for state in JobState:
        count = at_least(*known[state]) if state in known else ""
        query = search.in_state(state).text
        current = search.filter.state is state
        if current or count not in ("", "0") or state is not JobState.HANDED_OVER:
            tabs.append(Tab(state_in_words(state), query, count, current))
    return tabs


def _news(view: View, search: Search, top: str) -> int:
    """Count the jobs that match and are newer than the first one on the page."""
    newest = find(view.store, search, _NEWS).jobs
    return sum(job.id > top for job in newest)


def id_in(view: View, name: str) -> str | None:
    """Return the id in a parameter; None if there is none.

    Raises:
        ConfigurationError: it is not an id.
    """
    text = view.asked(name)
    if not text:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        raise ConfigurationError(f"{name} must be an id, but it is {text!r}.") from None


def done(view: View) -> list[tuple[str, int]]:
    """Return the results of a change, from the URL of its redirect."""
    change = CHANGES.get(view.asked("did"))
    if change is None:
        return []
    results = results_in(view, change)
    refused = results.pop("refused", 0)
    others = ", or jobs that you may not see would change with it" if view.tenant else ""
    why = [(f"refused: {change.why_not}, or it is gone{others}", refused)] if refused else []
    return [*results.items(), *why] or [(change.results[0], 0)]


def results_in(view: View, change: Change) -> dict[str, int]:
    """Return the number of jobs for each result of a change, from the parameters of a request."""
    results = (*change.results, "refused")
    texts = ((each, view.asked(each.replace(" ", "_"))) for each in results)
    return {each: int(text) for each, text in texts if text.isdecimal() and len(text) < 12}
