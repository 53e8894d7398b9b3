"""What the command line says, for the measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalogue import Contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured, and against whom.

    Args:
        rounds: medians are of so many.
        peers: who else is measured.
        jobs: how many are stored, or wait to be drained.
        seconds: the longest that one measurement of requests or of storing takes.
        paced: how many jobs have their latency measured.
        idle: seconds for which a worker has nothing to do.
        workers: numbers of worker processes, for scale.
        queued, ended: jobs that wait, and jobs in the history, for growth.
        only: cases of R to measure, beside the first.
        folder: where the stores are.
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
