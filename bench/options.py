"""The options of the command line, for the measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalogue import Contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The size of the measurements, and the peers.

    Args:
        rounds: number of rounds; the results are medians of them.
        peers: the other systems to measure.
        jobs: number of jobs to store or to drain.
        seconds: the longest time for one measurement of requests or of storing.
        paced: number of jobs for latency.
        idle: seconds for which the idle worker is measured.
        workers: numbers of worker processes, for scale.
        queued, ended: number of waiting jobs and of jobs in the history, for growth.
        only: cases of R to measure, besides the first.
        folder: a folder for the stores.
        urls: stores for growth.
        postgres_url, redis_url: servers to use.
    """

    rounds: int
    peers: Sequence[Contestant]
    jobs: int
    seconds: float
    paced: int
    idle: float
    workers: Sequence[int]
    queued: int
    ended: int
    only: Sequence[str]
    folder: Path | None
    urls: Sequence[str] | None
    postgres_url: str | None
    redis_url: str | None
