"""R: requests per second of one server, with one task per request, or with ten.

The cases take turns, each time with a fresh server and store: A B C A B C A B C. A figure of a
durable case counts only if every task of an answered request is completed in the store afterwards.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from afterword.model.job import JobState
from afterword.store.opening import open_store
from bench.catalogue import Kind
from bench.environments import ROOT
from bench.options import Options
from bench.result import Result
from bench.server import Server, running
from bench.stores import Stores

WARM_UP = 1.0  # seconds
DRAIN_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One table: the work of a request, and the number of server processes."""

    name: str
    title: str
    work: str  # the end of the path
    tasks: int = 1  # per request
    processes: int = 1


SETTINGS = (
    Setting("R", "one server, one no-op task per request", "0"),
    Setting("R-1ms", "one server, one 1 ms task per request", "1"),
    Setting("R-ten", "one server, ten no-op tasks per request", "ten", tasks=10),
    Setting("R-chain", "one server, one no-op task behind a chain of dependencies", "chain"),
    Setting("R-2", "a server of two processes, one no-op task per request", "0", processes=2),
)
# The least ratio to the requests per second with tasks in memory, and the most microseconds of the
# server's CPU per request.
TARGETS = {
    "async def, Afterword (SQLite)": (0.5, 155),
    "async def, Afterword (PostgreSQL)": (0.4, None),
    "def, Afterword (SQLite)": (2.4, 155),
    "def, Afterword (PostgreSQL)": (2.0, None),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One application and one path; with a store, if it needs one."""

    name: str
    application: str
    path: str
    kind: Kind | None = None

    @property
    def durable(self) -> bool:
        """True if its tasks are in the store."""
        return self.path != "/none" and self.kind is not None


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement of one case."""

    per_second: float
    cpu_microseconds: float  # of the server's CPU, per request
    drained_after: float  # seconds from the last answer to the last task's end


Figures = dict[Case, list[Figure]]


def cases(work: str) -> list[Case]:
    """Return the baseline, then each kind of task in memory and in each store."""
    baseline = [
        Case("no task", "in_memory", "/none"),
        Case("no task, Afterword installed", "durable", "/none", Kind.SQLITE),
    ]
    return baseline + [
        case for function in ("async", "def") for case in _cases(function, f"/{function}-{work}")
    ]


def _cases(function: str, path: str) -> list[Case]:
    name = {"async": "async def", "def": "def"}[function]
    return [
        Case(f"{name}, FastAPI in memory", "in_memory", path),
        Case(f"{name}, Afterword (SQLite)", "durable", path, Kind.SQLITE),
        Case(f"{name}, Afterword (PostgreSQL)", "durable", path, Kind.POSTGRESQL),
    ]


def measure(options: Options) -> list[Result]:
    """Measure all cases of each setting in turns."""
    with Stores(options.folder, options.postgres_url) as stores:
        return [_measure_setting(setting, stores, options) for setting in SETTINGS]


def _measure_setting(setting: Setting, stores: Stores, options: Options) -> Result:
    first, *others = cases(setting.work)
    chosen = [first, *(each for each in others if not options.only or each.name in options.only)]
    figures: Figures = {case: [] for case in chosen}
    for number in range(options.rounds):
        for case in chosen:
            figure = _measure(case, setting, stores, options.seconds)
            figures[case].append(figure)
            print(f"round {number + 1}: {case.name}: {figure.per_second:,.0f}/s", file=sys.stderr)
    return _result(setting, figures, options.seconds, stores)


def _measure(case: Case, setting: Setting, stores: Stores, seconds: float) -> Figure:
    with (
        stores.empty(case.kind or Kind.SQLITE) as store,
        running(
            f"bench.applications:{case.application}", store.url, processes=setting.processes
        ) as server,
    ):
        warm_up, _ = _load(server, case, WARM_UP)
        cpu = server.cpu_seconds
        answered, took = _load(server, case, seconds)
        tasks = setting.tasks * (warm_up + answered)
        drained = _require_all_ran(store.url, tasks) if case.durable else 0.0
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
    """Load by `wrk`, which at its end does not count up to 32 requests under way."""
    url = f"http://127.0.0.1:{server.port}{case.path}"
    command = ["wrk", "-t1", "-c32", f"-d{max(1, round(seconds))}s", "-s", "bench/post.lua", url]
    said = subprocess.check_output(command, cwd=ROOT, text=True)
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{case.name}: {said}")
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if found is None:
        raise SystemExit(f"wrk said something unexpected: {said}")
    return int(found[1]), float(found[2])


def _require_all_ran(url: str, tasks: int) -> float:
    """Wait until no job is left; returns the seconds. Exit if fewer tasks were completed."""
    store, started = open_store(url), time.perf_counter()
    store.open()
    try:
        while (counts := store.count())[JobState.QUEUED] + counts[JobState.RUNNING]:
            if time.perf_counter() > started + DRAIN_WITHIN:
                raise SystemExit(f"after {DRAIN_WITHIN:g} s there are jobs left: {counts}")
            time.sleep(0.02)
    finally:
        store.close()
    if counts[JobState.COMPLETED] < tasks:
        raise SystemExit(f"requests with {tasks} tasks were answered, but the store has {counts}")
    return time.perf_counter() - started


def _result(setting: Setting, figures: Figures, seconds: float, stores: Stores) -> Result:
    targets = f"\n\nTargets:\n\n{_targets(figures)}" if setting.name == "R" else ""
    return Result(
        name=setting.name,
        title=f"Requests per second of {setting.title}",
        header=[
            "",
            "requests/s",
            "to no task",
            "to FastAPI in memory",
            "server CPU per request, µs",
            "last task ended after, s",
        ],
        rows=[_row(case, figures) for case in figures],
        notes=f"32 connections, {seconds:g} s per measurement,"
        f" load from {'wrk' if shutil.which('wrk') else 'bench/load.py'}; every task of a durable"
        f" case was found completed in the store afterwards.{targets}",
        data={case.name: [asdict(each) for each in measured] for case, measured in figures.items()},
        versions=stores.versions(),
    )


def _row(case: Case, figures: Figures) -> list[str]:
    measured, first = figures[case], next(iter(figures))
    return [
        case.name,
        f"{median(each.per_second for each in measured):,.0f}",
        _ratio(measured, figures[first]),
        _ratio(measured, _in_memory(case, figures)) if case.durable else "",
        f"{median(each.cpu_microseconds for each in measured):,.0f}",
        f"{median(each.drained_after for each in measured):.2f}" if case.durable else "",
    ]


def _targets(figures: Figures) -> str:
    """Return a line for each target: the figure, and "met" or "not met"."""
    return "\n".join(line for case in figures for line in _lines_of(case, figures))


def _lines_of(case: Case, figures: Figures) -> Iterator[str]:
    least, most = TARGETS.get(case.name, (None, None))
    ratio = _ratio(figures[case], _in_memory(case, figures))
    if least is not None and ratio:
        met = _met(float(ratio) >= least)
        yield f"- {case.name}, at least {least} × in memory: {ratio}, {met}"
    if most is not None:
        cpu = median(each.cpu_microseconds for each in figures[case])
        yield f"- {case.name}, at most {most} µs of CPU per request: {cpu:.0f}, {_met(cpu <= most)}"


def _met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


def _in_memory(case: Case, figures: Figures) -> Sequence[Figure]:
    return next((all_ for each, all_ in figures.items() if _twins(each, case)), [])


def _twins(each: Case, case: Case) -> bool:
    return each.application == "in_memory" and each.path == case.path


def _ratio(measured: Sequence[Figure], base: Sequence[Figure]) -> str:
    """Return the median of the ratios within rounds: noise in a round disturbs both figures."""
    ratios = [one.per_second / other.per_second for one, other in zip(measured, base, strict=False)]
    return f"{median(ratios):.2f}" if ratios else ""
