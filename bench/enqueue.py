"""E: jobs per second that one process stores: one by one, from many callers at once, in bulk.

A job counts once the call that stores it has returned, and only if the store then holds it.
"""

from dataclasses import dataclass

from bench.catalogue import Contestant
from bench.contest import Standing, compete
from bench.enqueuing import BATCH, CALLERS, THREADS
from bench.options import Options
from bench.result import Result
from bench.stores import Stores
from bench.table import advantage, competition, number
from bench.targets import Target, times
from bench.trial import Trial, TrialFailed, trial


@dataclass(frozen=True, slots=True)
class Figure:
    """Jobs per second; in bulk, None if the system has no call for many jobs."""

    one_by_one: float
    concurrently: float
    in_bulk: float | None

    def __str__(self) -> str:
        """Return a line for the progress output."""
        bulk = f", {self.in_bulk:,.0f}/s in bulk" if self.in_bulk else ""
        return f"{self.one_by_one:,.0f}/s one by one, {self.concurrently:,.0f}/s at once{bulk}"


TARGETS: list[Target[Figure]] = [
    Target(
        text=f"{kind}, one by one, at least as fast as {title}",
        measured=times(peer, lambda figure: figure.one_by_one),
        least=1.0,
    )
    for kind, peer, title in (
        ("SQLite", "huey-sqlite", "Huey with fsync"),
        ("PostgreSQL", "pgqueuer-postgresql", "pgqueuer"),
    )
]


def measure(options: Options) -> list[Result]:
    """Store jobs in each way, each time in an empty store."""
    with Stores(options.folder, options.postgres_url, options.redis_url) as stores:
        standing = compete(
            options.peers, options.rounds, lambda each: _measure(each, stores, options)
        )
        table = competition(
            standing,
            stores,
            name="E",
            title="Jobs per second that one process stores",
            header=["one by one", "ours is", f"{CALLERS} callers", "ours is", "in bulk"],
            row=_row,
            notes=f"Up to {options.jobs:,} jobs or {options.seconds:g} s per measurement, each a"
            " number and a short text. One by one: the next call begins when the job before is"
            f" durable. {CALLERS} callers: so many coroutines ({THREADS} threads where calls"
            " block), each waiting for its own job. In bulk: where there is a call for many,"
            f" {BATCH:,} jobs in each. Every job was found in the store afterwards.",
            targets=TARGETS,
        )
    return [table]


def _measure(contestant: Contestant, stores: Stores, options: Options) -> Figure:
    with trial(contestant, stores) as run:
        single = _rate(run, "one_by_one", options.jobs, options.seconds)
    with trial(contestant, stores) as run:
        many = _rate(run, "concurrently", options.jobs, options.seconds)
    with trial(contestant, stores) as run:
        stored = run.ask("in_bulk", options.jobs) if _has_bulk(run) else None
    return Figure(single, many, stored["jobs"] / stored["seconds"] if stored else None)


def _has_bulk(run: Trial) -> bool:
    return bool(run.ask("in_bulk", 1)["one_call"])


def _rate(run: Trial, verb: str, jobs: int, seconds: float) -> float:
    stored = run.ask(verb, jobs, seconds)
    if (held := run.ask("count")["unfinished"]) < stored["jobs"]:
        raise TrialFailed(f"{stored['jobs']} jobs were stored, and the store holds {held}")
    return float(stored["jobs"] / stored["seconds"])


def _row(standing: Standing[Figure], contestant: Contestant) -> list[str]:
    return [
        number(standing.median(contestant, lambda figure: figure.one_by_one)),
        advantage(standing, contestant, lambda figure: figure.one_by_one),
        number(standing.median(contestant, lambda figure: figure.concurrently)),
        advantage(standing, contestant, lambda figure: figure.concurrently),
        number(standing.median(contestant, lambda figure: figure.in_bulk)),
    ]
