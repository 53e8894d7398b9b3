"""D: jobs per second that one worker process, and two, drain from a stored backlog.

Timed from the first start to the moment when the system's own store has no unfinished job. With
several processes, timed from the first start in the last of them, so that the time a process takes
to come up is not counted.
"""

from dataclasses import dataclass
from typing import Any

from bench.catalogue import Contestant
from bench.contest import Standing, compete
from bench.ledger import Start
from bench.options import Options
from bench.process import cpu_seconds
from bench.result import Result
from bench.stores import Stores
from bench.table import advantage, competition, number
from bench.targets import Target, own, times
from bench.trial import Trial, TrialFailed, trial

DRAIN_WITHIN = 300.0  # seconds
BURST = 2_000  # jobs


@dataclass(frozen=True, slots=True)
class Drained:
    """The figures of one drained backlog."""

    per_second: float
    worker_microseconds: float  # CPU time per job, all workers together
    server_microseconds: float | None

    def __str__(self) -> str:
        """Return a line for the progress output."""
        return f"{self.per_second:,.0f}/s, {self.worker_microseconds:.0f} µs"


@dataclass(frozen=True, slots=True)
class Figure:
    """A backlog for each of one and two worker processes, and a small one for one process."""

    one: Drained
    two: Drained
    burst: Drained

    def __str__(self) -> str:
        """Return a line for the progress output."""
        return f"one worker {self.one}; two {self.two}; a burst {self.burst}"


def _one(figure: Figure) -> float:
    return figure.one.per_second


def _two(figure: Figure) -> float:
    return figure.two.per_second


def _burst(figure: Figure) -> float:
    return figure.burst.per_second


def _cpu_per_job(figure: Figure) -> float:
    return figure.one.worker_microseconds


def _burst_to_backlog(figure: Figure) -> float:
    return figure.burst.per_second / figure.one.per_second


TARGETS: list[Target[Figure]] = [
    Target(
        text="PostgreSQL, one worker, at least 1.2 × pgqueuer",
        measured=times("pgqueuer-postgresql", _one),
        least=1.2,
    ),
    Target(
        text="PostgreSQL, two workers, at least 1.2 × pgqueuer",
        measured=times("pgqueuer-postgresql", _two),
        least=1.2,
    ),
    Target(
        text="PostgreSQL, a burst, at least 1.2 × pgqueuer",
        measured=times("pgqueuer-postgresql", _burst),
        least=1.2,
    ),
    Target(
        text="SQLite, a burst, at least 6 × Huey with fsync",
        measured=times("huey-sqlite", _burst),
        least=6.0,
    ),
    *(
        target
        for kind in ("SQLite", "PostgreSQL")
        for target in (
            Target(
                text=f"{kind}, a burst, at least 0.9 of the rate of a backlog",
                measured=own(f"afterword-{kind.lower()}", _burst_to_backlog),
                least=0.9,
            ),
            Target(
                text=f"{kind}, at most 30 µs of a worker's CPU per job",
                measured=own(f"afterword-{kind.lower()}", _cpu_per_job),
                most=30.0,
            ),
        )
    ),
]


def measure(options: Options) -> list[Result]:
    """Drain backlogs in turns."""
    with Stores(options.folder, options.postgres_url, options.redis_url) as stores:
        standing = compete(
            options.peers, options.rounds, lambda each: _measure(each, stores, options.jobs)
        )
        table = competition(
            standing,
            stores,
            name="D",
            title="Jobs per second drained from a backlog",
            header=[
                "one worker",
                "ours is",
                "two workers",
                "ours is",
                "a burst",
                "ours is",
                "worker CPU per job, µs",
                "server CPU per job, µs",
            ],
            row=_row,
            notes=f"A stored backlog of {options.jobs:,} no-op jobs for each worker process, from"
            " the first start to the moment when the store says that all have ended; two workers:"
            f" from the first start in the later one. A burst: {BURST:,} jobs, one worker. CPU:"
            " with one worker.",
            targets=TARGETS,
        )
    return [table]


def _measure(contestant: Contestant, stores: Stores, jobs: int) -> Figure:
    return Figure(
        drain(contestant, stores, jobs, 1),
        drain(contestant, stores, 2 * jobs, 2),
        drain(contestant, stores, BURST, 1),
    )


def drain(
    contestant: Contestant, stores: Stores, jobs: int, workers: int, queues: int = 1
) -> Drained:
    """Fill a store and let workers drain it."""
    with trial(contestant, stores, queues=queues) as run:
        run.ask("in_bulk", jobs)
        watcher = run.begin("watch", jobs, DRAIN_WITHIN)
        assert watcher.stdout
        watcher.stdout.readline()  # "ready"
        with run.workers(workers) as pids:
            run.wait_for_start()
            before = _cpu(run, pids)
            said = run.answer(watcher)
            after = _cpu(run, pids)
        require_complete(said, jobs, run)
        per_second = _rate(run.ledger.starts(), said["ended_at"], workers)
    microseconds = [
        None if begun is None or ended is None else (ended - begun) / jobs * 1e6
        for begun, ended in zip(before, after, strict=True)
    ]
    return Drained(per_second, microseconds[0] or 0.0, microseconds[1])


def _cpu(run: Trial, workers: list[int]) -> tuple[float | None, float | None]:
    """Return the CPU seconds of the workers, and of the store's server."""
    server = run.store.server
    return cpu_seconds(workers), cpu_seconds([server]) if server else None


def require_complete(said: dict[str, Any], jobs: int, run: Trial) -> None:
    """Check that the whole backlog has ended, according to the store.

    Raises:
        TrialFailed: it has not.
    """
    completed = jobs if said.get("completed") is None else said["completed"]
    if "ended_at" not in said or completed < jobs:
        raise TrialFailed(f"{run.contestant.title}: of {jobs} jobs, {said}\n{run.explain()}")


def _rate(starts: list[list[Start]], ended_at: int, workers: int) -> float:
    """Return the jobs per second since the moment when all workers were working."""
    if len(starts) < workers:
        raise TrialFailed(f"only {len(starts)} of {workers} workers got jobs: use more --jobs")
    begun = max(each[0].at_nanoseconds for each in starts)
    counted = sum(start.at_nanoseconds >= begun for each in starts for start in each)
    return counted / (ended_at - begun) * 1e9


def _row(standing: Standing[Figure], contestant: Contestant) -> list[str]:
    return [
        number(standing.median(contestant, _one)),
        advantage(standing, contestant, _one),
        number(standing.median(contestant, _two)),
        advantage(standing, contestant, _two),
        number(standing.median(contestant, _burst)),
        advantage(standing, contestant, _burst),
        number(standing.median(contestant, _cpu_per_job)),
        number(standing.median(contestant, lambda figure: figure.one.server_microseconds)),
    ]
