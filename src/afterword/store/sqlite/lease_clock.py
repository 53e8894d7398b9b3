"""Leases, measured by this process's own monotonic clock.

Processes of one machine share its wall clock, and still see different times: it is set, or a
container has another one. So a lease's end is never compared with the time of day. A lease is over
when this process has watched for as long as it lasts and has seen no renewal.
"""

from afterword.model.clock import Clock


class LeaseClock:
    """The latest renewals of the workers of one store, and when they were seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}  # worker: its sign, and since when

    def note(self, worker: str, sign: float) -> float:
        """Note the latest renewal; return the seconds for which it has been the latest one.

        Args:
            sign: a value that each renewal changes.
        """
        now = self._clock.monotonic()
        last, since = self._seen.get(worker, (None, now))
        if sign != last:
            since = now
        self._seen[worker] = (sign, since)
        return now - since

    def forget_all_but(self, workers: set[str]) -> None:
        """Forget the workers that are not on the list any more."""
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in workers}
