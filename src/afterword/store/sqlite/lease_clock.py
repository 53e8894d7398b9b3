"""Leases, measured by this process's own monotonic clock.

Processes of one machine share its wall clock, but may see different times: the clock is set, or a
container has another one. So the end of a lease is never compared with the time of day. A lease is
over when this process has seen no renewal for as long as the lease lasts.
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
        """Forget the workers that are no longer in the store."""
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in workers}
