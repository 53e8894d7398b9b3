"""Counters: the number of jobs that ended in a minute, and how long they had waited and run.

Charts read these instead of the history. Durations are counted in buckets, so that percentiles of
any number of minutes can be read from the sum of their histograms.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from afterword.model.job import JobState

MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600  # seconds: the periods that are counted
KEPT = {MINUTE: 2 * 24 * HOUR, TEN_MINUTES: 14 * 24 * HOUR, HOUR: 366 * 24 * HOUR}  # for seconds
# The upper ends of the buckets in seconds, from 1 ms to 37 hours; a last one has what is longer.
BOUNDS: tuple[float, ...] = tuple(0.001 * 2**power for power in range(28))

# A chart reads thousands of texts: this takes a third of the time of `json.loads`.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations as the number of them in each bucket: those up to BOUNDS[0], to BOUNDS[1], ...

    >>> lengths = Histogram.of([0.5, 0.5, 0.5, 60])
    >>> lengths.total, 0.2 < lengths.quantile(0.5) < 0.6, 32 < lengths.quantile(0.99) < 66
    (4, True, True)
    """

    buckets: Mapping[int, int]

    @classmethod
    def of(cls, durations: Iterable[float]) -> "Histogram":
        """Count durations in seconds."""
        buckets: dict[int, int] = {}
        for each in durations:
            bucket = bisect_right(BOUNDS, each)
            buckets[bucket] = buckets.get(bucket, 0) + 1
        return cls(buckets)

    @classmethod
    def read(cls, text: str) -> "Histogram":
        """Decode what `text` encoded."""
        flat, _ = _scan(text, 0)
        return cls(dict(zip(flat[::2], flat[1::2], strict=True)))

    def text(self) -> str:
        """Encode it as JSON, as a list: a chart reads thousands of them.

        >>> Histogram({7: 1, 3: 2}).text()
        '[3,2,7,1]'
        """
        flat = [number for pair in sorted(self.buckets.items()) for number in pair]
        return json.dumps(flat, separators=(",", ":"))

    @property
    def total(self) -> int:
        """The number of durations."""
        return sum(self.buckets.values())

    def quantile(self, part: float) -> float | None:
        """Return the duration that this part of them does not exceed, in seconds; None: no data.

        It is exact to its bucket, whose upper end is twice the lower one; within that it is
        estimated.
        """
        left = part * self.total
        for bucket, number in sorted(self.buckets.items()):
            if left <= number:
                lower = BOUNDS[bucket - 1] if bucket else 0.0
                upper = BOUNDS[min(bucket, len(BOUNDS) - 1)]
                return lower + (upper - lower) * left / number
            left -= number
        return None


def added_up(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of histograms.

    >>> added_up([Histogram({3: 1}), Histogram({3: 2, 4: 1})])
    Histogram(buckets={3: 3, 4: 1})
    """
    buckets: dict[int, int] = {}
    for each in histograms:
        for bucket, number in each.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + number
    return Histogram(buckets)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterRecord:
    """The jobs of a task and a queue that ended in one state within a period.

    Args:
        started_at: the start of the period.
        seconds: its length.
        waited: from the time at which the last attempt was due to its start.
        ran: how long the last attempts took. A job that was cancelled while it was queued is in
            neither of the two.
        counted: False for jobs that are not in the counters yet; only the latest of these are
            included (`LATEST` in store/counting.py). A period may have records of both kinds.
    """

    started_at: datetime
    seconds: int
    task: str
    queue: str
    state: JobState
    jobs: int
    waited: Histogram
    ran: Histogram
    counted: bool = True
