"""Claims that wait for a slot, so that the next attempt need not wait for the store.

A worker whose attempts take a millisecond would spend its time waiting for claims, and make one
transaction for every few jobs. It therefore claims ahead: as many as it has ended in the last
moment, which is about as long as they will wait here. Where attempts take seconds that is none.

What is here is claimed, but not started. If a slot does not come free soon, because the next tasks
turned out to be long, it is given back, and its attempt does not count.

A job whose worker was lost does not wait here: what is held when a process dies is counted as lost,
and the third time a job fails (`MAX_LOST`). Only what really ran beside a task that kills may share
its fate.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence

from afterword.model.clock import Clock
from afterword.store.protocol import Claim

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
