"""The finding of an experiment, as it is printed and published."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaos.lab import Lab
from tests.crash.faults import Result

KEPT = "0 lost, 0 completed twice, every extra run explained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the table in docs/reliability.md.

    Args:
        name: "A" to "D", "F1" to "F49", "H1" to "H4".
        store: "SQLite" or "PostgreSQL".
        question: the fault, and the processes that met it.
        required: the result that is required.
        measured: the result that was measured.
        passed: True if it is as required.
    """

    name: str
    store: str
    question: str
    required: str
    measured: str
    passed: bool


def judge(
    name: str,
    lab: Lab,
    question: str,
    fault: Callable[[Lab], Result],
    rooms: Iterable[Lab] | None = None,
    *,
    required: str = KEPT,
) -> Finding:
    """Cause a fault in each of these rooms, and sum up the checker's verdicts."""
    began_at = time.monotonic()
    results = [fault(room) for room in rooms or [lab]]
    problems = [problem for result in results for problem in result.verdict.problems]
    notes = [note for result in results for note in result.notes]
    seconds = f"{time.monotonic() - began_at:.0f} s"
    return Finding(
        name=name,
        store=lab.kind,
        question=question,
        required=required,
        measured="; ".join([_counted(results), *notes, *problems[:5], seconds]),
        passed=not problems and all(result.well for result in results),
    )


def _counted(results: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in results]
    counts: Mapping[str, int] = {
        "acknowledged": sum(verdict.acked for verdict in verdicts),
        "hits": sum(result.hits for result in results),
        "extra runs": sum(verdict.extra_runs for verdict in verdicts),
        "stale outcomes refused": sum(result.logs.count("lost_lease") for result in results),
        "lost three workers and failed as poison": sum(verdict.poisoned for verdict in verdicts),
        "problems": sum(len(verdict.problems) for verdict in verdicts),
    }
    return ", ".join(f"{number:,} {what}" for what, number in counts.items())
