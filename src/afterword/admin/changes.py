"""Changes of jobs: those that are named, or all that match a filter.

The result for a job is a word: "retried", "deleted", "cancelled", or "asked to end" if it runs.

All that match are changed in batches, from the newest to the oldest. Changed jobs no longer match,
so a change that was interrupted continues when it is made again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from afterword.admin.duration import show_instant
from afterword.admin.search import Search
from afterword.errors import ConfigurationError
from afterword.model.audit import Actor
from afterword.model.clock import as_datetime
from afterword.model.job import FINAL_STATES, JobState
from afterword.store.paging import pages
from afterword.store.protocol import Store
from afterword.telemetry import printable

BATCH = 1_000  # jobs per transaction

_CANCELLED, _ASKED = "cancelled", "asked to end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One way to change jobs.

    Args:
        name: the command.
        effect: the effect on the jobs, in words.
        results: the possible results for a job, the usual one first.
        state: the state that is selected if none is given; None: all that have ended.
        possible: the states in which a job can be changed.
        why_not: the reason why other states are refused.
        apply: changes jobs for a person; returns a result per id, None for a job that was refused.
    """

    name: str
    effect: str
    results: tuple[str, ...]
    state: JobState | None
    possible: frozenset[JobState]
    why_not: str
    apply: Callable[[Store, Sequence[str], Actor], Sequence[str | None]]


_PLACES = {"dashboard": "in the dashboard", "command line": "on the command line"}


def _cancel(store: Store, ids: Sequence[str], by: Actor) -> Sequence[str | None]:
    # Without the person's name: clients of the application may see the reason.
    accepted = store.cancel(ids, f"cancelled {_PLACES.get(by.place, 'on request')}", by)
    # A job that was queued before may have started since.
    ended = {job.id for job in store.get(ids) if job.state is JobState.CANCELLED}
    words = (_CANCELLED if job_id in ended else _ASKED for job_id in ids)
    return [word if done else None for word, done in zip(words, accepted, strict=True)]


RETRY = Change(
    name="retry",
    effect="The jobs run again, and so do those of the same request that were cancelled with them.",
    results=("retried",),
    state=JobState.FAILED,
    possible=FINAL_STATES,
    why_not="only a job that has ended can be retried",
    apply=lambda store, ids, by: ["retried" if done else None for done in store.retry(ids, by)],
)
CANCEL = Change(
    name="cancel",
    effect="Queued jobs end now, and so do those that follow them. Running ones are asked to end.",
    results=(_CANCELLED, _ASKED),
    state=JobState.QUEUED,
    possible=frozenset({JobState.QUEUED, JobState.RUNNING}),
    why_not="only a job that has not ended can be cancelled",
    apply=_cancel,
)
DELETE = Change(
    name="delete",
    effect="The jobs are removed from the store. This cannot be undone.",
    results=("deleted",),
    state=None,
    possible=FINAL_STATES | {JobState.QUEUED},
    why_not="a running job cannot be deleted",
    apply=lambda store, ids, by: ["deleted" if done else None for done in store.delete(ids, by)],
)
CHANGES = {change.name: change for change in (RETRY, CANCEL, DELETE)}


# ---------------------------------------------------------------------- all that match


def states_of(change: Change, search: Search) -> list[JobState]:
    """Return the states of the jobs that a change of all that match selects.

    Raises:
        ConfigurationError: jobs in this state cannot be changed so, or the search has ids.
    """
    wanted = search.filter
    if search.ids:
        raise ConfigurationError(
            f"A change of all that match must not name ids, but the search has id:{search.ids[0]}."
            f" Example: afterword {change.name} {search.ids[0]}"
        )
    if wanted.state is None:
        return [change.state] if change.state else [each for each in JobState if each.final]
    if wanted.state not in change.possible:
        possible = ", ".join(sorted(change.possible))
        raise ConfigurationError(
            f"--state cannot be {wanted.state}: {change.why_not}. Choose from: {possible}."
        )
    return [wanted.state]


def batches(store: Store, search: Search, states: Sequence[JobState]) -> Iterator[list[str]]:
    """Yield the ids of all jobs that match, in batches to be changed before the next is read."""
    for state in states:
        for page in pages(store, replace(search.filter, state=state), size=BATCH):
            yield [job.id for job in page if search.matches(job)]


def scope_of(
    search: Search, states: Sequence[JobState], matching: int = 0, *, values: bool = True
) -> str:
    """Describe a search in words; `matching` is the number of jobs, if it is known.

    With `values=False` it leaves out values of arguments, which not everyone may see.

    >>> from afterword.model.records import Filter
    >>> scope_of(Search(filter=Filter(task="app:send", error="refused")), [JobState.FAILED])
    "failed jobs with task app:send, error 'refused'"
    >>> scope_of(Search(), [JobState.QUEUED], matching=1)
    'queued job'
    """
    wanted = search.filter
    parts = [
        f"{name} {repr(value) if name.startswith('error') else printable(str(value))}"
        for name, value in (
            ("task", wanted.task),
            ("queue", wanted.queue),
            ("tag", wanted.tag),
            ("request", wanted.request_id),
            ("error", search.error),
            ("error like", search.group),
            ("worker", wanted.worker),
            ("added since", _instant(wanted.since)),
        )
        if value is not None
    ]
    parts += [
        f"argument {printable(path)}{f' {text!r}' if values else ''}"
        for path, text in search.arguments
    ]
    narrowed = f" with {', '.join(parts)}" if parts else ""
    which = "ended" if FINAL_STATES == set(states) else " or ".join(states)
    return f"{which} job{'' if matching == 1 else 's'}{narrowed}"


def by_search(by: Actor, search: Search, states: Sequence[JobState]) -> Actor:
    """Return the actor of a change of all that match, which is one action in the audit."""
    return by.on_all(scope_of(search, states, values=False))


def _instant(seconds: float | None) -> str | None:
    return show_instant(as_datetime(seconds)) if seconds is not None else None


def with_object(result: str, jobs: str) -> str:
    """Write a result with the jobs that it applies to.

    >>> with_object("retried", "5 jobs"), with_object("asked to end", "1 job")
    ('retried 5 jobs', 'asked 1 job to end')
    """
    verb, _, rest = result.partition(" ")
    return f"{verb} {jobs} {rest}".rstrip()
