"""Changing jobs from the command line: those that are named, or all that match.

The result for a job is a word: "retried", "deleted", "cancelled", or "asked to end" if it runs.

With `--all`, jobs are changed in batches, from the newest to the oldest. Changed jobs no longer
match, so an interrupted command continues when it is run again.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from afterword.cli import output
from afterword.cli.duration import show_instant
from afterword.cli.exit_code import ExitCode
from afterword.cli.health import COUNT_LIMIT, capped
from afterword.cli.pages import full_id
from afterword.errors import ConfigurationError
from afterword.model.clock import as_datetime
from afterword.model.job import JobState
from afterword.model.records import Filter
from afterword.store.paging import pages
from afterword.store.protocol import Store
from afterword.telemetry import printable

BATCH = 1_000  # jobs per transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One way to change jobs.

    Args:
        name: the command.
        help: its help text.
        results: the possible results for a job, the usual one first.
        state: the state that `--all` selects if none is given; None: all that have ended.
        possible: the states in which a job can be changed.
        why_not: the reason why other states are refused.
        apply: changes jobs; returns a result per id, None for a job that was refused.
    """

    name: str
    help: str
    results: tuple[str, ...]
    state: JobState | None
    possible: frozenset[JobState]
    why_not: str
    apply: Callable[[Store, Sequence[str]], Sequence[str | None]]


# ---------------------------------------------------------------------- one by one


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one job that was named."""

    id: str
    result: str
    state: JobState | None = None  # the state of a job that was refused


def act_on(store: Store, act: Act, typed: Sequence[str], json: bool) -> None:
    """Change the jobs that were named, print the result for each, and exit with their status."""
    found = {each: full_id(store, each) for each in typed}  # look up all before changing any
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
    (result,) = act.apply(store, [job_id])
    if result:
        return Verdict(job_id, result)
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


def act_on_all(
    store: Store, act: Act, wanted: Filter, dry_run: bool, yes: bool, json: bool
) -> None:
    """Change all jobs that match, after a confirmation, and print their number."""
    states = _states(act, wanted)
    counts = store.count(replace(wanted, state=None), COUNT_LIMIT + 1)
    matching = sum(counts[state] for state in states)
    scope = f"{capped(matching)} {_scope(wanted, states, matching)}"
    if dry_run:
        _say_scope(act, scope, matching, json)
        return
    if not yes and matching:
        _confirm(act, scope)
    report: Counter[str | None] = Counter()
    try:
        for state in states:
            _act_in_batches(store, act, replace(wanted, state=state), report)
    finally:  # also after Ctrl-C: the earlier batches are done
        _say_report(act, report, json)


def _states(act: Act, wanted: Filter) -> list[JobState]:
    """Return the states that the filter selects."""
    if wanted.state is None:
        return [act.state] if act.state else [each for each in JobState if each.final]
    if wanted.state not in act.possible:
        possible = ", ".join(sorted(act.possible))
        raise ConfigurationError(
            f"--state cannot be {wanted.state}: {act.why_not}. Choose from: {possible}."
        )
    return [wanted.state]


def _scope(wanted: Filter, states: Sequence[JobState], matching: int) -> str:
    """Describe a filter in words.

    >>> _scope(Filter(task="app:send", error="refused"), [JobState.FAILED], 2)
    "failed jobs with task app:send, error 'refused'"
    >>> _scope(Filter(), [JobState.QUEUED], 1)
    'queued job'
    """
    parts = [
        f"{name} {repr(value) if name == 'error' else printable(str(value))}"
        for name, value in (
            ("task", wanted.task),
            ("queue", wanted.queue),
            ("tag", wanted.tag),
            ("request", wanted.request_id),
            ("error", wanted.error),
            ("added since", _instant(wanted.since)),
        )
        if value is not None
    ]
    narrowed = f" with {', '.join(parts)}" if parts else ""
    return f"{' or '.join(states)} job{'' if matching == 1 else 's'}{narrowed}"


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
            f"{act.name} --all asks before it changes {scope}, but there is no terminal to ask in."
            " Pass --yes, or --dry-run to look first."
        )
    if not typer.confirm(f"{act.name.capitalize()} {scope}?", err=True):
        output.tell("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)


def _act_in_batches(store: Store, act: Act, wanted: Filter, report: Counter[str | None]) -> None:
    for ids in _batches(store, wanted):
        report.update(act.apply(store, ids))


def _batches(store: Store, wanted: Filter) -> Iterator[list[str]]:
    for page in pages(store, wanted, size=BATCH):
        yield [job.id for job in page]


def _say_report(act: Act, report: Counter[str | None], json: bool) -> None:
    counts = {result: report[result] for result in act.results}
    if json:
        counted = {result.replace(" ", "_"): count for result, count in counts.items()}
        output.print_document({**counted, "refused": report[None]})
        return
    if not any(counts.values()):
        output.write(f"{act.results[0]} 0 jobs\n")
    for result, count in counts.items():
        if count:
            output.write(f"{_with_object(result, output.many(count, 'job'))}\n")
    if report[None]:
        output.tell(f"{report[None]:,} changed their state meanwhile, and were not touched.")


def _with_object(result: str, jobs: str) -> str:
    """Write a result with the jobs that it applies to.

    >>> _with_object("retried", "5 jobs"), _with_object("asked to end", "1 job")
    ('retried 5 jobs', 'asked 1 job to end')
    """
    verb, _, rest = result.partition(" ")
    return f"{verb} {jobs} {rest}".rstrip()
