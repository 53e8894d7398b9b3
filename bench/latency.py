"""L: milliseconds from storing a job to its start, with an idle worker.

In another process: the system's worker, and a process that stores a job every 5 ms. In the same
process: one server, and a client that sends a request every 5 ms, for FastAPI's tasks and for ours.
"""

import http.client
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from bench.agent import GAP
from bench.catalogue import Contestant, Kind
from bench.contest import Standing, compete
from bench.ledger import FOLDER, Ledger
from bench.options import Options
from bench.result import Result
from bench.server import Server, running
from bench.stores import Stores
from bench.table import advantage, competition, number
from bench.targets import Target, own, times
from bench.trial import Trial, TrialFailed, trial

START_WITHIN = 15.0  # seconds for the last job
SETTLE = 1.0  # seconds without work before the first job


@dataclass(frozen=True, slots=True)
class Figure:
    """The milliseconds of one run."""

    median: float  # since the call, or the request, began
    slowest: float  # the 99th percentile of the same
    stored_median: float  # since the call has returned, or the response arrived
    stored_slowest: float

    def __str__(self) -> str:
        """Return a line for the progress output."""
        return f"{self.median:.2f} ms, 99 %: {self.slowest:.2f} ms"


HEADER = ["p50", "p99", "p50 once stored", "p99 once stored"]


TARGETS: list[Target[Figure]] = [
    Target(
        text="SQLite, p50 under 1 ms",
        measured=own("afterword-sqlite", lambda figure: figure.median),
        most=1.0,
    ),
    Target(
        text="SQLite, p50 under 1 ms once stored",
        measured=own("afterword-sqlite", lambda figure: figure.stored_median),
        most=1.0,
    ),
    Target(
        text="PostgreSQL, p50 at most that of pgqueuer",
        measured=times("pgqueuer-postgresql", lambda figure: figure.median),
        most=1.0,
    ),
]


def measure(options: Options) -> list[Result]:
    """Measure both tables."""
    with Stores(options.folder, options.postgres_url, options.redis_url) as stores:
        standing = compete(
            options.peers, options.rounds, lambda each: _measure(each, stores, options.paced)
        )
        table = competition(
            standing,
            stores,
            name="L",
            title="Milliseconds from storing a job to its start in another process",
            header=[*HEADER, "ours is"],
            row=_row,
            notes=f"{options.paced:,} jobs, {GAP * 1e3:g} ms apart, one idle worker; from the"
            " beginning of the call that stores a job to the job's first line, and from the"
            " return of that call (less than nothing: the job began before).",
            targets=TARGETS,
        )
        return [table, _in_process(stores, options)]


def _measure(contestant: Contestant, stores: Stores, jobs: int) -> Figure:
    with trial(contestant, stores) as run, run.workers(1):
        run.ask("one_by_one", 1, 10.0)
        run.wait_for_start()
        time.sleep(SETTLE)
        before = run.ledger.count()
        calls = run.ask("paced", 1_000, jobs)["calls"]
        _wait_for_jobs(run, before + jobs)
        starts = {start.number: start for each in run.ledger.starts() for start in each}
    at = [starts[1_000 + place].at_nanoseconds for place in range(jobs)]
    return _figure(
        [start - began for start, (began, _) in zip(at, calls, strict=True)],
        [start - ended for start, (_, ended) in zip(at, calls, strict=True)],
    )


def _wait_for_jobs(run: Trial, jobs: int) -> None:
    deadline = time.monotonic() + START_WITHIN
    while (count := run.ledger.count()) < jobs:
        if time.monotonic() > deadline:
            raise TrialFailed(f"{run.contestant.title}: {count} of {jobs} jobs have started")
        time.sleep(0.02)


def _figure(since_call: Sequence[int], since_stored: Sequence[int]) -> Figure:
    values = [
        each / 1e6
        for nanoseconds in (since_call, since_stored)
        for each in (median(nanoseconds), quantiles(nanoseconds, n=100)[98])
    ]
    return Figure(*values)


def _row(standing: Standing[Figure], contestant: Contestant) -> list[str]:
    return [
        number(standing.median(contestant, lambda figure: figure.median), 2),
        number(standing.median(contestant, lambda figure: figure.slowest), 2),
        number(standing.median(contestant, lambda figure: figure.stored_median), 2),
        number(standing.median(contestant, lambda figure: figure.stored_slowest), 2),
        advantage(standing, contestant, lambda figure: figure.median, digits=2),
    ]


# ---------------------------------------------------------------------- in the same process


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of task, in memory or in a store."""

    title: str
    application: str
    path: str
    kind: Kind = Kind.SQLITE  # of no consequence for tasks in memory


CASES = [
    Case("async def, FastAPI in memory", "in_memory", "/async"),
    Case("async def, Afterword (SQLite)", "durable", "/async"),
    Case("async def, Afterword (PostgreSQL)", "durable", "/async", Kind.POSTGRESQL),
    Case("def, FastAPI in memory", "in_memory", "/def"),
    Case("def, Afterword (SQLite)", "durable", "/def"),
    Case("def, Afterword (PostgreSQL)", "durable", "/def", Kind.POSTGRESQL),
]


def _in_process(stores: Stores, options: Options) -> Result:
    figures: dict[Case, list[Figure]] = {case: [] for case in CASES}
    for _ in range(options.rounds):
        for case in CASES:
            figures[case].append(_requests(case, stores, options.paced))
    return Result(
        name="L-in-process",
        title="Milliseconds from a request to the start of its task in the same process",
        header=["", "p50", "p99", "p50 after the response", "p99 after the response"],
        rows=[[case.title, *_cells(measured)] for case, measured in figures.items()],
        notes=f"{options.paced:,} requests of one client, {GAP * 1e3:g} ms apart; since the request"
        " was sent, and since its response had arrived (less than nothing: the task began before).",
        data={
            case.title: [asdict(each) for each in measured] for case, measured in figures.items()
        },
        versions=stores.versions(),
    )


def _requests(case: Case, stores: Stores, jobs: int) -> Figure:
    with (
        stores.empty(case.kind) as store,
        tempfile.TemporaryDirectory(prefix="afterword-bench-") as folder,
        running(f"bench.marking:{case.application}", store.url, {FOLDER: folder}) as server,
    ):
        ledger = Ledger(Path(folder))
        calls = _send(server, case.path, jobs)
        deadline = time.monotonic() + START_WITHIN
        while ledger.count() < len(calls) and time.monotonic() < deadline:
            time.sleep(0.02)
        starts = {start.number: start.at_nanoseconds for each in ledger.starts() for start in each}
    timed = [(starts[place], calls[place]) for place in range(len(calls) - jobs, len(calls))]
    return _figure(
        [start - sent for start, (sent, _) in timed],
        [start - answered for start, (_, answered) in timed],
    )


def _send(server: Server, path: str, jobs: int) -> list[tuple[int, int]]:
    """Send requests; returns when each was sent and answered. The first twenty are not timed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    calls = []
    for place in range(jobs + 20):
        sent = time.monotonic_ns()
        connection.request("POST", f"{path}?number={place}")
        connection.getresponse().read()
        calls.append((sent, time.monotonic_ns()))
        time.sleep(GAP)
    connection.close()
    return calls


def _cells(figures: Sequence[Figure]) -> list[str]:
    return [
        number(median(each.median for each in figures), 2),
        number(median(each.slowest for each in figures), 2),
        number(median(each.stored_median for each in figures), 2),
        number(median(each.stored_slowest for each in figures), 2),
    ]
