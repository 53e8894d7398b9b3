"""The faults F1 to F4 in large: the crash tests' own code, with more of everything."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from chaos.findings import Finding
from tests.crash import faults
from tests.crash.faults import Result

JOBS = 10_000
KILL_EVERY = 0.5  # seconds; a process that is killed more often never gets to work
ROUNDS = 50
CRASHES = 20  # at each point, two in a row on one store
STOPS = 20


def kill_workers(folder: Path) -> Finding:
    """F1: kill -9 a random one of four processes, again and again, while they drain jobs."""
    return _judge(
        "F1",
        f"{JOBS:,} jobs on 4 processes, kill -9 of a random one every {KILL_EVERY} s",
        [folder],
        lambda each: faults.kill_workers(each, jobs=JOBS, every=KILL_EVERY),
    )


def kill_web_process(folder: Path) -> Finding:
    """F2: kill -9 the web process at random moments of its load."""
    return _judge(
        "F2",
        f"kill -9 of the web process under load, at a random moment, {ROUNDS} times",
        [folder],
        lambda each: faults.kill_web_process(each, rounds=ROUNDS),
    )


def crash_at_each_point(folder: Path) -> Finding:
    """F3: die at each point where a job changes hands."""
    folders = [folder / f"{point}-{n}" for point in faults.POINTS for n in range(CRASHES // 2)]
    return _judge(
        "F3",
        f"the process dies at {', '.join(faults.POINTS)}: {CRASHES} times at each",
        folders,
        lambda each: faults.crash_at(each, each.name.partition("-")[0], jobs=3, crashes=2),
    )


def stop_workers(folder: Path) -> Finding:
    """F4: SIGSTOP a working process for longer than its lease, then SIGCONT."""
    return _judge(
        "F4",
        f"5,000 jobs on 2 processes, {STOPS} times SIGSTOP for longer than the lease, SIGCONT",
        [folder],
        lambda each: faults.stop_workers(each, jobs=5_000, stops=STOPS),
    )


def _judge(
    name: str, question: str, folders: Iterable[Path], fault: Callable[[Path], Result]
) -> Finding:
    began_at = time.monotonic()
    results = []
    for folder in folders:
        folder.mkdir(exist_ok=True)
        results.append(fault(folder))
    problems = [problem for result in results for problem in result.verdict.problems]
    return Finding(
        name=name,
        question=question,
        required="0 lost, 0 completed twice, every extra run explained",
        measured=_sum_up(results, problems, time.monotonic() - began_at),
        passed=not problems,
    )


def _sum_up(results: list[Result], problems: list[str], seconds: float) -> str:
    verdicts = [result.verdict for result in results]
    stale = sum(result.logs.count("lost_lease") for result in results)
    counts = {
        "acknowledged": sum(verdict.acked for verdict in verdicts),
        "hits": sum(result.hits for result in results),
        "extra runs": sum(verdict.extra_runs for verdict in verdicts),
        "stale outcomes refused": stale,
        "lost three workers and failed as poison": sum(verdict.poisoned for verdict in verdicts),
        "problems": len(problems),
    }
    text = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    shown = "".join(f"; {problem}" for problem in problems[:5])
    return f"{text}{shown}; {seconds:.0f} s"
