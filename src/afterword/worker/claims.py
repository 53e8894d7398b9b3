"""What a worker takes from the store: as much as it has room for, whenever there may be something.

Any thread asks. The store's thread claims when it gets to it, and only then finds out how much room
there is: so a claim shares its transaction with the ends of attempts, and takes as many jobs as
have ended. What it took waits (`afterword.worker.claims`) until the event loop gives it slots.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from afterword import telemetry
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases
from afterword.client.operation import calling
from afterword.model.clock import Clock
from afterword.store.protocol import Claim, Store

PROBE = 4  # the part of the free slots that the first of several claims asks for: a quarter
AHEAD = 0.05  # seconds: a claim waits here for about as long
MOST = 500  # claims: so that one transaction, for which requests may wait, stays short
GIVE_BACK_AFTER = 0.25  # seconds
CAREFUL_FOR = 1.0  # seconds without claims ahead, once one came that was lost before


class Prefetch:
    """The claims of one worker that have no slot yet, in their order.

    One thread may put while another one takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._claims: deque[tuple[float, Claim]] = deque()  # and since when they wait (monotonic)
        self._counted_from = clock.monotonic()
        self._per_second = 0.0
        self._careful_until = float("-inf")
        self._risky = False  # one that was lost before is among them
        self.ended = 0  # attempts since `_counted_from`: whoever ends one counts it here

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def room(self) -> int:
        """How many more had better be claimed than there are free slots."""
        now = self._clock.monotonic()
        if now >= self._counted_from + AHEAD:
            self._per_second = self.ended / (now - self._counted_from)
            self._counted_from, self.ended = now, 0
        ahead = 0 if now < self._careful_until else min(MOST, int(self._per_second * AHEAD))
        return ahead - len(self._claims)

    def put(self, claims: Sequence[Claim]) -> None:
        """Keep these until there are slots for them."""
        now = self._clock.monotonic()
        self._claims.extend((now, claim) for claim in claims)
        self._risky = self._risky or any(claim.lost for claim in claims)

    def take(self) -> Claim:
        """The next one."""
        return self._claims.popleft()[1]

    def take_out(self, queues: frozenset[str]) -> Sequence[Claim]:
        """Those of these queues; nothing may be taken or given up meanwhile."""
        claims = [self._claims.popleft() for _ in range(len(self._claims))]
        self._claims.extend(each for each in claims if each[1].queue not in queues)
        return [claim for _, claim in claims if claim.queue in queues]

    def give_up(self, *, all_of_them: bool) -> Sequence[Claim]:
        """What is not to wait any longer, or not at all."""
        now = self._clock.monotonic()
        late = bool(self._claims) and self._claims[0][0] <= now - GIVE_BACK_AFTER
        if not (late or self._risky or all_of_them):
            return []
        self._risky = False
        given_up = []
        for since, claim in self._taken(len(self._claims)):
            if claim.lost:
                self._careful_until = now + CAREFUL_FOR
            if all_of_them or claim.lost or since <= now - GIVE_BACK_AFTER:
                given_up.append(claim)
            else:
                self._claims.append((since, claim))
        return given_up

    def _taken(self, count: int) -> Iterator[tuple[float, Claim]]:
        """As many from the front, or all if another thread takes some as well."""
        with contextlib.suppress(IndexError):
            for _ in range(count):
                yield self._claims.popleft()


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
