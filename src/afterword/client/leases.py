"""This process's worker id in the store, and its lease.

The lease is renewed from the store's thread, so a blocked event loop cannot stop it. It can still
be lost, because the process was stopped or the store was away too long. Then everything that this
process holds may already run elsewhere: `on_lost` is called, and the process joins again under a
new id. No attempt may start while the lease is not `valid`, and the fence refuses its outcome.
"""

import secrets
from collections.abc import Callable, Sequence

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling
from afterword.errors import StoreError
from afterword.model.clock import Clock
from afterword.store.protocol import Store
from afterword.telemetry import metrics

RENEWALS = 5  # per lease: after three failures in a row there is still time to stop


class Leases:
    """One worker id at a time, which is joined to the store and renewed.

    Args:
        group: runs the renewals; started before this.
        seconds: how long a lease lasts without renewal.
        on_lost: called in the store's thread with the id whose lease was lost.
    """

    def __init__(
        self,
        group: GroupCommit,
        seconds: float,
        clock: Clock | None = None,
        on_lost: Callable[[str], None] = lambda worker: None,
    ) -> None:
        self._group = group
        self._clock = clock or Clock()
        self._renewed_at = float("-inf")  # monotonic
        self._given_up = False
        self._queues: Sequence[str] = ()
        self._concurrency = 0
        self.seconds = seconds
        self.on_lost = on_lost
        self.beats = 0  # renewals that the store's thread has tried, with or without success
        self.worker = new_worker_id()

    def start(self, queues: Sequence[str] = (), concurrency: int = 0) -> None:
        """Join under a new id, and renew the lease from now on.

        Args:
            queues: those that the worker of this process serves.
            concurrency: attempts that it runs at a time; 0 if this process only stores jobs.
        """
        self._queues, self._concurrency = queues, concurrency
        self.worker = new_worker_id()
        self._given_up = False
        self._group.run_blocking(calling(self._join))
        self._group.every(self.seconds / RENEWALS, self._renew)

    def retire(self) -> None:
        """Begin to shut down: attempts that do not end count as interrupted, not as lost."""
        self._group.run_blocking(calling(lambda store: store.retire(self.worker)))

    def stop(self) -> None:
        """Leave the store; jobs that are still held are lost at once."""
        self._group.run_blocking(calling(lambda store: store.leave(self.worker)))

    @property
    def valid(self) -> bool:
        """True while the lease certainly holds, by this process's own monotonic clock."""
        return self._clock.monotonic() < self._renewed_at + self.seconds

    def _join(self, store: Store) -> None:
        joined_at = self._clock.monotonic()
        store.join(self.worker, self.seconds, self._queues, self._concurrency)
        self._renewed_at = joined_at

    def _renew(self, store: Store) -> None:
        asked_at = self._clock.monotonic()
        self.beats += 1
        try:
            if not self._given_up and store.renew(self.worker, self.seconds):
                self._renewed_at = asked_at
                return
        except StoreError:
            # The present time, not `asked_at`: a busy store fails only after a while.
            if self._clock.monotonic() > self._renewed_at + self.seconds / 2:
                self._give_up()
            raise
        self._give_up()
        store.leave(self.worker)
        self.worker = new_worker_id()
        self._join(store)
        self._given_up = False

    def _give_up(self) -> None:
        """Call `on_lost`: from now on other processes may recover the jobs of this worker."""
        if not self._given_up:
            self._given_up = True
            metrics.lost_lease()
            self._renewed_at = float("-inf")
            self.on_lost(self.worker)


def new_worker_id() -> str:
    """Return a random id: host names, process ids and pod names are used again."""
    return secrets.token_hex(8)
