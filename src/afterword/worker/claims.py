"""What a worker takes from the store: as much as it has room for, whenever there may be something.

Any thread asks. The store's thread claims when it gets to it, and only then finds out how much room
there is: so a claim shares its transaction with the ends of attempts, and takes as many jobs as
have ended. What it took waits (`afterword.worker.prefetch`) until the event loop gives it slots.
"""

from collections.abc import Callable, Sequence

from afterword import telemetry
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases
from afterword.client.operation import calling
from afterword.model.clock import Clock
from afterword.store.protocol import Claim, Store
from afterword.worker.prefetch import Prefetch

PROBE = 4  # the part of the free slots that the first of several claims asks for: a quarter


class Claims:
    """Claims jobs for one worker.

    Args:
        queues: what it serves.
        free: how many of its slots are free.
        skipped: the tasks whose jobs are left to others, or to a later time.
        on_claimed: called in the store's thread after each claim, whatever came of it.
    """

    def __init__(
        self,
        group: GroupCommit,
        leases: Leases,
        queues: Sequence[str],
        *,
        free: Callable[[], int],
        skipped: Callable[[], Sequence[str]],
        on_claimed: Callable[[], object],
        clock: Clock,
    ) -> None:
        self._group = group
        self._leases = leases
        self._queues = queues
        self._free = free
        self._skipped = skipped
        self._on_claimed = on_claimed
        self._asked = False  # and the store's thread has not got to it
        self.waiting = Prefetch(clock)
        self.promised = 0  # slots that the claim under way may need
        self.more = False  # there was more to claim than there was room for
        self.next_in: float | None = None  # seconds until the next job that waits for its time
        self.stopped = False  # nothing is claimed any more

    def ask(self) -> None:
        """In any thread: claim what there is room for, unless that is to happen already."""
        if self._asked or self.stopped:
            return
        self._asked = True
        operation = calling(self._claim)
        operation.done = self._answer
        self._group.submit(operation)

    @property
    def wanted(self) -> int:
        """How many jobs there is room for; it may be less than none.

        A first claim leaves slots to the jobs that this process's requests offer meanwhile; only
        one that came back full shows that there is more in the store.
        """
        free = self._free()
        return free + self.waiting.room if self.more else min(free, max(1, free // PROBE))

    def _claim(self, store: Store) -> Sequence[Claim]:
        """In the store's thread."""
        self._asked = False  # whoever has news from now on must be heard
        if not self._leases.valid:
            self.more = False
            return []  # until it has joined again: what it took now would be lost at once
        limit = self.wanted
        if limit <= 0:
            self.more = True  # for all we know
            return []
        self.promised = limit
        claims = store.claim(self._leases.worker, self._queues, limit, self._skipped())
        self.more = len(claims) == limit
        self.next_in = None if self.more else store.next_in(self._queues)
        return claims

    def _answer(self, claims: Sequence[Claim], error: BaseException | None) -> None:
        self.promised, self._asked = 0, False
        if error is None:
            self.waiting.put(claims)
        else:
            self.more = False  # the next poll will tell
            telemetry.claim_failed(error)
        self._on_claimed()
