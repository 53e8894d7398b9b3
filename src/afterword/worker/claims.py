"""Claiming jobs for a worker: as many as it has room for.

Any thread may ask. The store's thread claims, and counts the free slots only then. So a claim
shares its transaction with the outcomes of attempts, and takes as many jobs as have ended. Claimed
jobs wait in a `Prefetch` until the event loop gives them slots.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from afterword import telemetry
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases
from afterword.client.operation import Operation, calling
from afterword.errors import StoreError
from afterword.model.clock import Clock
from afterword.store.protocol import Claim, Store

PROBE = 4  # the first of several claims asks for one in four of the free slots
AHEAD = 0.05  # seconds for which a claim waits, on average
AT_LEAST = 0.005  # seconds over which a rate is measured: a burst is claimed ahead from the start
MOST = 500  # claims; a transaction stays short, because requests may wait for it
GIVE_BACK_AFTER = 0.25  # seconds
CAREFUL_FOR = 1.0  # seconds without claims ahead, after a claim that was lost before


class Prefetch:
    """The claims of one worker that wait for a slot, in their order.

    One thread may put while another one takes. How many may wait is measured: as many as end in
    `AHEAD` seconds. Time in which nothing runs, because the store is busy, does not count.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._claims: deque[tuple[float, Claim]] = deque()  # with their time of arrival (monotonic)
        self._measured_from = clock.monotonic()
        self._ended = 0  # attempts, since then
        self._idle_since: float | None = self._measured_from  # None: attempts run
        self._ahead = 0
        self._careful_until = float("-inf")
        self._risky = False  # a claim that was lost before is among them

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def room(self) -> int:
        """Claims to request beyond the free slots."""
        now = self._clock.monotonic()
        self._measure(now)
        ahead = 0 if now < self._careful_until else min(MOST, self._ahead)
        return ahead - len(self._claims)

    def _measure(self, now: float) -> None:
        """Measure how many attempts end in `AHEAD` seconds; an older measure counts meanwhile."""
        seconds = (now if self._idle_since is None else self._idle_since) - self._measured_from
        ahead = round(self._ended * AHEAD / max(seconds, AT_LEAST))
        if seconds < AHEAD:
            self._ahead = max(self._ahead, ahead)
        else:
            self._ahead = ahead
            self._measured_from, self._ended = now, 0

    def forget_measure(self) -> None:
        """Forget how fast attempts have ended: the next backlog may have other tasks."""
        self._ahead = self._ended = 0

    def note_end(self, *, idle: bool) -> None:
        """Note, in any thread, that an attempt has ended; `idle`: no other one runs."""
        self._ended += 1
        if idle:
            self._idle_since = self._clock.monotonic()

    def put(self, claims: Sequence[Claim]) -> None:
        """Keep these until there are slots for them."""
        now = self._clock.monotonic()
        if claims and not self._claims and self._idle_since is not None:
            self._measured_from, self._ended = now, 0
        self._claims.extend((now, claim) for claim in claims)
        self._risky = self._risky or any(claim.lost for claim in claims)

    def take(self) -> Claim:
        """Take the next claim, to run it."""
        self._idle_since = None
        return self._claims.popleft()[1]

    def take_out(self, queues: frozenset[str]) -> Sequence[Claim]:
        """Take the claims of these queues; no other thread may take or give up claims meanwhile."""
        claims = [self._claims.popleft() for _ in range(len(self._claims))]
        self._claims.extend(each for each in claims if each[1].queue not in queues)
        return [claim for _, claim in claims if claim.queue in queues]

    def give_up(self, *, all_of_them: bool) -> Sequence[Claim]:
        """Take the claims to give back: those that have waited too long, or must not wait."""
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
        """Take up to `count` claims from the front; another thread may take some too."""
        with contextlib.suppress(IndexError):
            for _ in range(count):
                yield self._claims.popleft()


class Claims:
    """Claims jobs for one worker.

    Args:
        queues: those that the worker serves.
        free: returns the number of free slots.
        skipped: returns the tasks whose jobs are not claimed now.
        on_claimed: called in the store's thread after each claim, also after an error, and when
            `next_in` is known.
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
        self._asked: Operation | None = None  # until the store's thread begins the claim
        self.waiting = Prefetch(clock)
        self.promised = 0  # slots that the present claim may need
        self.more = False  # there were more jobs than free slots
        self.next_in: float | None = None  # seconds until the next job that waits for its time
        self.stopped = False  # no further claims

    def ask(self) -> None:
        """Ask for a claim, in any thread, unless one is already asked for."""
        if self._asked is not None or self.stopped:
            return
        operation = self._asked = calling(self._claim)
        operation.done = lambda claims, error: self._answer(operation, claims, error)
        self._group.submit(operation)

    @property
    def wanted(self) -> int:
        """The number of jobs to claim; it may be negative.

        A first claim leaves slots to the jobs that this process's requests offer meanwhile. Only a
        claim that returned as many jobs as it asked for shows that the store has more.
        """
        free = self._free()
        return free + self.waiting.room if self.more else min(free, max(1, free // PROBE))

    def _claim(self, store: Store) -> Sequence[Claim]:
        """Claim jobs, in the store's thread."""
        self._asked = None  # from now on, `ask` must lead to another claim
        if self.stopped or not self._leases.valid:
            self.more = False
            return []  # jobs claimed before it joins again would be lost at once
        limit = self.wanted
        if limit <= 0:
            self.more = True  # perhaps
            return []
        self.promised = limit
        claims = store.claim(self._leases.worker, self._queues, limit, self._skipped())
        self.more = len(claims) == limit
        if not self.more:
            self.waiting.forget_measure()
        return claims

    def _answer(
        self, operation: Operation, claims: Sequence[Claim], error: BaseException | None
    ) -> None:
        self.promised = 0
        if self._asked is operation:  # it failed before it began
            self._asked = None
        if error is not None:
            self.more = False  # until the next poll
            telemetry.claim_failed(error)
            self._on_claimed()
            return
        self.waiting.put(claims)
        self._on_claimed()
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Find out when the next job is due; the claims do not wait for that."""
        self.next_in = None
        if not self.more:
            with contextlib.suppress(StoreError):  # the next poll looks again
                self.next_in = self._group.store.next_in(self._queues)
        if self.next_in is not None:
            self._on_claimed()
