"""I: CPU time and memory of an idle worker process, and its memory after work."""

import time
from dataclasses import dataclass

from bench.catalogue import OURS, Contestant
from bench.contest import Standing, in_turns
from bench.drain import DRAIN_WITHIN, require_complete
from bench.options import Options
from bench.process import cpu_seconds, resident_bytes
from bench.result import Result
from bench.stores import Stores
from bench.table import competition, number
from bench.trial import trial

SETTLE = 2.0  # seconds after the last work


@dataclass(frozen=True, slots=True)
class Figure:
    """Percent of a core, and megabytes (2**20)."""

    worker_percent: float
    server_percent: float | None
    idle_megabytes: float
    after_megabytes: float

    def __str__(self) -> str:
        """Return a line for the progress output."""
        return f"{self.worker_percent:.2f} %, {self.idle_megabytes:.0f} MB"


def measure(options: Options) -> list[Result]:
    """Measure each system once a round."""
    with Stores(options.folder, options.postgres_url, options.redis_url) as stores:
        standing = in_turns(
            [*OURS, *options.peers], options.rounds, lambda each: _measure(each, stores, options)
        )
        table = competition(
            standing,
            stores,
            name="I",
            title="A worker that has nothing to do",
            header=["CPU, %", "its server's CPU, %", "memory, MB", "memory after work, MB"],
            row=_row,
            notes=f"One worker process with all that it has started, after one job;"
            f" {options.idle:g} s without work. Memory: resident, 1 MB = 2²⁰ bytes; after"
            f" work: after {options.jobs:,} no-op jobs.",
        )
    return [table]


def _measure(contestant: Contestant, stores: Stores, options: Options) -> Figure:
    with trial(contestant, stores) as run, run.workers(1) as workers:
        server = [run.store.server] if run.store.server else []
        run.ask("one_by_one", 1, 10.0)
        run.wait_for_start()
        time.sleep(SETTLE)
        before = cpu_seconds(workers), cpu_seconds(server)
        time.sleep(options.idle)
        after = cpu_seconds(workers), cpu_seconds(server)
        idle = resident_bytes(workers)
        jobs = options.jobs + run.ledger.count()
        run.ask("in_bulk", options.jobs)
        said = run.ask("watch", jobs, DRAIN_WITHIN)
        require_complete(said, jobs, run)
        time.sleep(SETTLE)
        full = resident_bytes(workers)
    percent = [(now - then) / options.idle * 100 for then, now in zip(before, after, strict=True)]
    return Figure(percent[0], percent[1] if server else None, idle / 2**20, full / 2**20)


def _row(standing: Standing[Figure], contestant: Contestant) -> list[str]:
    return [
        number(standing.median(contestant, lambda figure: figure.worker_percent), 2),
        number(standing.median(contestant, lambda figure: figure.server_percent), 2),
        number(standing.median(contestant, lambda figure: figure.idle_megabytes)),
        number(standing.median(contestant, lambda figure: figure.after_megabytes)),
    ]
