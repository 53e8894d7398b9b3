"""Changing jobs from the command line: those that are named, or all that match.

`admin.changes` makes the changes; this module asks for confirmation, and prints the results.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from afterword.admin.changes import (
    Change,
    batches,
    by_search,
    scope_of,
    states_of,
    with_object,
)
from afterword.admin.health import COUNT_LIMIT, capped
from afterword.admin.ids import full_id
from afterword.admin.search import Search
from afterword.admin.words import many
from afterword.cli import output
from afterword.cli.exit_code import ExitCode
from afterword.cli.person import this_person
from afterword.errors import ConfigurationError
from afterword.model.job import JobState
from afterword.store.protocol import Store
from afterword.telemetry import printable

# ---------------------------------------------------------------------- one by one


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one job that was named."""

    id: str
    result: str
    state: JobState | None = None  # the state of a job that was refused


def act_on(store: Store, change: Change, typed: Sequence[str], json: bool) -> None:
    """Change the jobs that were named, print the result for each, and exit with their status."""
    found = {each: full_id(store, each) for each in typed}  # look up all before changing any
    ids = list(dict.fromkeys(filter(None, found.values())))
    results = dict(zip(ids, change.apply(store, ids, this_person()), strict=True))
    verdicts = [_verdict(store, each, found[each], results) for each in found]
    for verdict in verdicts:
        if json:
            output.print_lines([{"id": verdict.id, "result": verdict.result, **_state(verdict)}])
        else:
            output.write(f"{printable(verdict.id)}  {_in_words(change, verdict)}\n")
    _leave(verdicts)


def _verdict(
    store: Store, typed: str, job_id: str | None, results: Mapping[str, str | None]
) -> Verdict:
    if job_id is None:
        return Verdict(typed, "not found")
    if result := results[job_id]:
        return Verdict(job_id, result)
    found = store.get([job_id])
    return Verdict(job_id, "refused", found[0].state) if found else Verdict(typed, "not found")


def _state(verdict: Verdict) -> dict[str, Any]:
    return {"state": verdict.state} if verdict.state else {}


def _in_words(change: Change, verdict: Verdict) -> str:
    if verdict.state is None:
        return verdict.result
    return f"refused: it is {verdict.state}, and {change.why_not}"


def _leave(verdicts: Sequence[Verdict]) -> None:
    results = {verdict.result for verdict in verdicts}
    if "not found" in results:
        raise typer.Exit(ExitCode.NOT_FOUND)
    if "refused" in results:
        raise typer.Exit(ExitCode.REFUSED)


# ---------------------------------------------------------------------- all that match


def act_on_all(
    store: Store, change: Change, wanted: Search, dry_run: bool, yes: bool, json: bool
) -> None:
    """Change all jobs that match, after a confirmation, and print their number."""
    states = states_of(change, wanted)
    matching = _count(store, wanted, states)
    scope = f"{capped(matching)} {scope_of(wanted, states, matching)}"
    if dry_run:
        _say_scope(change, scope, matching, json)
        return
    if not yes and matching:
        _confirm(change, scope)
    report: Counter[str | None] = Counter()
    by = by_search(this_person(), wanted, states)
    try:
        for ids in batches(store, wanted, states):
            report.update(change.apply(store, ids, by))
    finally:  # also after Ctrl-C: the earlier batches are done
        _say_report(change, report, json)


def _count(store: Store, wanted: Search, states: Sequence[JobState]) -> int:
    """Count the jobs that match; if they must be read for that, up to a limit."""
    if not wanted.reads_jobs:
        counts = store.count(replace(wanted.filter, state=None), COUNT_LIMIT + 1)
        return sum(counts[state] for state in states)
    matching = 0
    for ids in batches(store, wanted, states):
        matching += len(ids)
        if matching > COUNT_LIMIT:
            break
    return matching


def _say_scope(change: Change, scope: str, matching: int, json: bool) -> None:
    if json:
        more = matching > COUNT_LIMIT
        counted = {"matching": min(matching, COUNT_LIMIT), "more_than_counted": more}
        output.print_document({"command": change.name, "scope": scope, **counted})
    else:
        output.write(f"would {change.name} {scope}\n")


def _confirm(change: Change, scope: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(
            f"{change.name} --all asks before it changes {scope}, but there is no terminal to ask"
            " in. Pass --yes, or --dry-run to look first."
        )
    if not typer.confirm(f"{change.name.capitalize()} {scope}?", err=True):
        output.tell("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)


def _say_report(change: Change, report: Counter[str | None], json: bool) -> None:
    counts = {result: report[result] for result in change.results}
    if json:
        counted = {result.replace(" ", "_"): count for result, count in counts.items()}
        output.print_document({**counted, "refused": report[None]})
        return
    if not any(counts.values()):
        output.write(f"{change.results[0]} 0 jobs\n")
    for result, count in counts.items():
        if count:
            output.write(f"{with_object(result, many(count, 'job'))}\n")
    if report[None]:
        output.tell(f"{report[None]:,} changed their state meanwhile, and were not touched.")
