"""`afterword retry`, `cancel` and `delete`: some jobs by id, or all that match a filter.

With `--all`, jobs are changed in batches, from the newest to the oldest. What has been changed does
not match any more, so a command that was interrupted goes on when it is run again.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from afterword.cli import options, output
from afterword.cli.duration import show_instant
from afterword.cli.exit_code import ExitCode
from afterword.cli.health import COUNT_LIMIT, capped
from afterword.cli.options import Json, Url, opened
from afterword.cli.pages import full_id, known_id, pages
from afterword.clock import as_datetime
from afterword.errors import ConfigurationError
from afterword.job import FINAL_STATES, JobState
from afterword.records import Filter
from afterword.store import Store
from afterword.telemetry import printable

BATCH = 1_000  # jobs per transaction

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Jobs, by id or 8 and more of its characters."),
]
All = Annotated[bool, typer.Option("--all", help="All jobs that match the options below.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what --all would be about, and how many.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One way to change jobs.

    Args:
        name: the command.
        done: what a job has been when it worked.
        state: which ones `--all` means if no state is named; None: all of `possible`.
        possible: in which states a job can be changed.
        why_not: what is wrong with another state.
        apply: the verb of the store; one bool per id.
    """

    name: str
    done: str
    state: JobState | None
    possible: frozenset[JobState]
    why_not: str
    apply: Callable[[Store, Sequence[str]], Sequence[bool]]


RETRY = Act(
    name="retry",
    done="retried",
    state=JobState.FAILED,
    possible=FINAL_STATES,
    why_not="only a job that has ended can be retried",
    apply=lambda store, ids: store.retry(ids),
)
CANCEL = Act(
    name="cancel",
    done="cancelled",
    state=JobState.QUEUED,
    possible=frozenset({JobState.QUEUED}),
    why_not="only a queued job can be cancelled, not yet one that runs",
    apply=lambda store, ids: store.cancel(ids, "cancelled on the command line"),
)
DELETE = Act(
    name="delete",
    done="deleted",
    state=None,
    possible=frozenset(FINAL_STATES),
    why_not="a running job cannot be deleted",
    apply=lambda store, ids: store.delete(ids),
)


def retry(
    ids: Ids = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    state: options.State = None,
    task: options.Task = None,
    queue: options.Queue = None,
    error: options.Error = None,
    since: options.Since = None,
    request: options.Request = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Queue jobs again that have ended.

    With --all: failed ones, unless --state says otherwise.

    Jobs of the same request that were cancelled because of them come back with them.

    \b
    Examples:
      afterword retry 0193e5f0-7c1a
      afterword retry --all --error "Connection refused" --since 1d --dry-run
      afterword retry --all --task app.mail:send --yes
    """
    with opened(url) as store:
        if _names_ids(ids, everything, dry_run, state, task, queue, error, since, request):
            _act_on(store, RETRY, ids or [], json)
        else:
            wanted = options.wanted(state, task, queue, error, since, known_id(store, request))
            _act_on_all(store, RETRY, wanted, dry_run, yes, json)


def cancel(
    ids: Ids = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    task: options.Task = None,
    queue: options.Queue = None,
    error: options.Error = None,
    since: options.Since = None,
    request: options.Request = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """End queued jobs, and those that follow them.

    Who follows a job of its request that was cancelled is cancelled with it.

    \b
    Examples:
      afterword cancel 0193e5f0-7c1a
      afterword cancel --all --queue reports --dry-run
    """
    with opened(url) as store:
        if _names_ids(ids, everything, dry_run, task, queue, error, since, request):
            _act_on(store, CANCEL, ids or [], json)
        else:
            wanted = options.wanted(None, task, queue, error, since, known_id(store, request))
            _act_on_all(store, CANCEL, wanted, dry_run, yes, json)


def delete(
    ids: Ids = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    state: options.State = None,
    task: options.Task = None,
    queue: options.Queue = None,
    error: options.Error = None,
    since: options.Since = None,
    request: options.Request = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Forget jobs that are not running.

    With --all: those that have ended, unless --state is given.

    \b
    Examples:
      afterword delete 0193e5f0-7c1a
      afterword delete --all --state cancelled --task app.mail:send --yes
    """
    with opened(url) as store:
        if _names_ids(ids, everything, dry_run, state, task, queue, error, since, request):
            _act_on(store, DELETE, ids or [], json)
        else:
            wanted = options.wanted(state, task, queue, error, since, known_id(store, request))
            _act_on_all(store, DELETE, wanted, dry_run, yes, json)


def _names_ids(ids: list[str] | None, everything: bool, dry_run: bool, *filters: object) -> bool:
    """Whether jobs are named one by one; mixing the two ways could hit more than was meant."""
    narrowed = dry_run or any(each is not None for each in filters)
    if bool(ids) == everything or (ids and narrowed):
        raise ConfigurationError(
            "Jobs are named by their ids, or by --all and the options that narrow it, but not"
            " both. Examples: afterword retry 0193e5f0-7c1a, or afterword retry --all --task"
            " app.mail:send"
        )
    return not everything


# ---------------------------------------------------------------------- one by one


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one job that was named."""

    id: str
    result: str
    state: JobState | None = None  # which it was refused in


def _act_on(store: Store, act: Act, typed: Sequence[str], json: bool) -> None:
    found = {each: full_id(store, each) for each in typed}  # all of them, before the first changes
    verdicts = [_verdict(store, act, each, found[each]) for each in found]
    for verdict in verdicts:
        if json:
            output.print_lines([{"id": verdict.id, "result": verdict.result, **_state(verdict)}])
        else:
            output.write(f"{printable(verdict.id)}  {_in_words(act, verdict)}\n")
    _leave(verdicts)


def _verdict(store: Store, act: Act, typed: str, job_id: str | None) -> Verdict:
    if job_id is None:
        return Verdict(typed, "not found")
    if act.apply(store, [job_id])[0]:
        return Verdict(job_id, act.done)
    found = store.get([job_id])
    return Verdict(job_id, "refused", found[0].state) if found else Verdict(typed, "not found")


def _state(verdict: Verdict) -> dict[str, Any]:
    return {"state": verdict.state} if verdict.state else {}


def _in_words(act: Act, verdict: Verdict) -> str:
    if verdict.state is None:
        return verdict.result
    return f"refused: it is {verdict.state}, and {act.why_not}"


def _leave(verdicts: Sequence[Verdict]) -> None:
    results = {verdict.result for verdict in verdicts}
    if "not found" in results:
        raise typer.Exit(ExitCode.NOT_FOUND)
    if "refused" in results:
        raise typer.Exit(ExitCode.REFUSED)


# ---------------------------------------------------------------------- all that match


def _act_on_all(
    store: Store, act: Act, wanted: Filter, dry_run: bool, yes: bool, json: bool
) -> None:
    states = _states(act, wanted)
    counts = store.count(replace(wanted, state=None), COUNT_LIMIT + 1)
    matching = sum(counts[state] for state in states)
    scope = f"{capped(matching)} {_scope(wanted, states)}"
    if dry_run:
        _say_scope(act, scope, matching, json)
        return
    if not yes and matching:
        _confirm(act, scope)
    report = _Report()
    try:
        for state in states:
            _act_in_batches(store, act, replace(wanted, state=state), report)
    finally:  # a Ctrl-C, too: what is done is done
        _say_report(act, report, json)


def _states(act: Act, wanted: Filter) -> list[JobState]:
    """The states in which jobs are meant."""
    if wanted.state is None:
        return [act.state] if act.state else [each for each in JobState if each in act.possible]
    if wanted.state is JobState.RUNNING or (act is RETRY and wanted.state not in act.possible):
        raise ConfigurationError(f"--state cannot be {wanted.state}: {act.why_not}.")
    return [wanted.state]


def _scope(wanted: Filter, states: Sequence[JobState]) -> str:
    """A filter in words.

    >>> _scope(Filter(task="app:send", error="refused"), [JobState.FAILED])
    "failed jobs with task app:send, error 'refused'"
    """
    parts = [
        f"{name} {repr(value) if name == 'error' else printable(str(value))}"
        for name, value in (
            ("task", wanted.task),
            ("queue", wanted.queue),
            ("request", wanted.request_id),
            ("error", wanted.error),
            ("added since", _instant(wanted.since)),
        )
        if value is not None
    ]
    narrowed = f" with {', '.join(parts)}" if parts else ""
    return f"{' or '.join(states)} jobs{narrowed}"


def _instant(seconds: float | None) -> str | None:
    return show_instant(as_datetime(seconds)) if seconds is not None else None


def _say_scope(act: Act, scope: str, matching: int, json: bool) -> None:
    if json:
        more = matching > COUNT_LIMIT
        counted = {"matching": min(matching, COUNT_LIMIT), "more_than_counted": more}
        output.print_document({"command": act.name, "scope": scope, **counted})
    else:
        output.write(f"would {act.name} {scope}\n")


def _confirm(act: Act, scope: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(
            f"{act.name} --all would {act.name} {scope}, and there is no terminal to ask in."
            " Pass --yes, or --dry-run to look first."
        )
    if not typer.confirm(f"{act.name.capitalize()} {scope}?", err=True):
        output.tell("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)


@dataclass(slots=True)
class _Report:
    """How far it has come."""

    done: int = 0
    refused: int = 0


def _act_in_batches(store: Store, act: Act, wanted: Filter, report: _Report) -> None:
    for ids in _batches(store, wanted):
        accepted = sum(act.apply(store, ids))
        report.done += accepted
        report.refused += len(ids) - accepted


def _batches(store: Store, wanted: Filter) -> Iterator[list[str]]:
    for page in pages(store, wanted, size=BATCH):
        yield [job.id for job in page]


def _say_report(act: Act, report: _Report, json: bool) -> None:
    if json:
        output.print_document({act.done: report.done, "refused": report.refused})
        return
    output.write(f"{act.done} {output.many(report.done, 'job')}\n")
    if report.refused:
        output.tell(f"{report.refused:,} changed their state meanwhile, and were left alone.")
