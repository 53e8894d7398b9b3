"""R: requests per second of one server, with one no-op task per request.

The cases take turns, each time with a fresh server and store: A B C A B C A B C. A durable case
counts only if the store says afterwards that every task of an answered request has run.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from afterword.job import JobState
from afterword.store import open_store
from bench.options import Options
from bench.result import Result
from bench.server import ROOT, Server, running

WARM_UP = 1.0  # seconds
DRAIN_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """One application and one path."""

    name: str
    application: str
    path: str
    tasks: bool = True

    @property
    def durable(self) -> bool:
        """Whether its tasks are in the store."""
        return self.tasks and self.application == "durable"


CASES = [
    Case("no task", "in_memory", "/none", tasks=False),
    Case("no task, Afterword installed", "durable", "/none", tasks=False),
    Case("async def, FastAPI in memory", "in_memory", "/async"),
    Case("async def, Afterword durable", "durable", "/async"),
    Case("def, FastAPI in memory", "in_memory", "/def"),
    Case("def, Afterword durable", "durable", "/def"),
]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement of one case."""

    per_second: float
    cpu_microseconds: float  # of the server, per request
    drained_after: float  # seconds from the last answer to the last task's end


def measure(options: Options) -> Result:
    """Measure all cases in turns."""
    only, seconds = options.only, options.seconds
    cases = [case for case in CASES if not only or case is CASES[0] or case.name in only]
    figures: dict[Case, list[Figure]] = {case: [] for case in cases}
    for number in range(options.rounds):
        for case in cases:
            figure = _measure(case, seconds, options.folder)
            figures[case].append(figure)
            print(f"round {number + 1}: {case.name}: {figure.per_second:,.0f}/s", file=sys.stderr)
    return _result(figures, seconds)


def _measure(case: Case, seconds: float, parent: Path | None) -> Figure:
    with tempfile.TemporaryDirectory(prefix="afterword-bench-", dir=parent) as folder:
        store = Path(folder) / "jobs.db"
        with running(f"bench.applications:{case.application}", store) as server:
            warm_up, _ = _load(server, case, WARM_UP)
            cpu = server.cpu_seconds
            answered, took = _load(server, case, seconds)
            drained = _require_all_ran(store, warm_up + answered) if case.durable else 0.0
            cpu = server.cpu_seconds - cpu
    return Figure(answered / took, cpu / answered * 1e6, drained)


def _load(server: Server, case: Case, seconds: float) -> tuple[int, float]:
    if shutil.which("wrk"):
        return _wrk(server, case, seconds)
    command = [sys.executable, "bench/load.py", str(server.port), case.path, str(seconds)]
    said = json.loads(subprocess.check_output(command, cwd=ROOT))
    if said["failed"]:
        raise SystemExit(f"{case.name}: {said['failed']} requests were not answered with 200")
    return int(said["answered"]), float(said["seconds"])


def _wrk(server: Server, case: Case, seconds: float) -> tuple[int, float]:
    """`wrk` ends with up to 32 requests under way, which it does not count."""
    url = f"http://127.0.0.1:{server.port}{case.path}"
    command = ["wrk", "-t1", "-c32", f"-d{max(1, round(seconds))}s", "-s", "bench/post.lua", url]
    said = subprocess.check_output(command, cwd=ROOT, text=True)
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{case.name}: {said}")
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if found is None:
        raise SystemExit(f"wrk said something unexpected: {said}")
    return int(found[1]), float(found[2])


def _require_all_ran(path: Path, answered: int) -> float:
    """Wait until no job is left; how long that took. Fewer completed than answered: no result."""
    store, started = open_store(f"sqlite:///{path}"), time.perf_counter()
    store.open()
    try:
        while (counts := store.count())[JobState.QUEUED] + counts[JobState.RUNNING]:
            if time.perf_counter() > started + DRAIN_WITHIN:
                raise SystemExit(f"after {DRAIN_WITHIN:g} s there are jobs left: {counts}")
            time.sleep(0.02)
    finally:
        store.close()
    if counts[JobState.COMPLETED] < answered:
        raise SystemExit(f"{answered} requests were answered, but the store says {counts}")
    return time.perf_counter() - started


def _result(figures: dict[Case, list[Figure]], seconds: float) -> Result:
    rows = [
        [
            case.name,
            f"{median(each.per_second for each in figures[case]):,.0f}",
            _ratio(figures[case], figures[CASES[0]]),
            _ratio(figures[case], figures.get(_in_memory(case), [])) if case.durable else "",
            f"{median(each.cpu_microseconds for each in figures[case]):,.0f}",
            f"{median(each.drained_after for each in figures[case]):.2f}" if case.durable else "",
        ]
        for case in figures
    ]
    return Result(
        name="R",
        title="Requests per second of one server, one no-op task per request",
        header=[
            "",
            "requests/s",
            "to no task",
            "to FastAPI in memory",
            "server CPU per request, µs",
            "last task ended after, s",
        ],
        rows=rows,
        notes=f"32 connections, {seconds:g} s per measurement,"
        f" load from {'wrk' if shutil.which('wrk') else 'bench/load.py'}; every task of a durable"
        " case was found completed in the store afterwards.",
        data={
            case.name: {
                "requests_per_second": [round(each.per_second, 1) for each in figures[case]],
                "cpu_microseconds": [round(each.cpu_microseconds, 1) for each in figures[case]],
                "drained_after_seconds": [round(each.drained_after, 3) for each in figures[case]],
            }
            for case in figures
        },
    )


def _in_memory(case: Case) -> Case:
    return next(c for c in CASES if c.application == "in_memory" and c.path == case.path)


def _ratio(measured: list[Figure], base: list[Figure]) -> str:
    """The median of the ratios within each round: what disturbs a round disturbs both."""
    ratios = [one.per_second / other.per_second for one, other in zip(measured, base, strict=False)]
    return f"{median(ratios):.2f}" if ratios else ""
