"""Operations that met another transaction's lock, until they are tried again.

The lock may belong to user code: an open transaction that has added the same unique key, or a job
behind the same predecessor. It can last for any time, so the store's thread does not wait for it.
The operation is kept here while the others go on. It is tried again after a growing pause, and all
the tries together take a small part of the thread's time.

Of several operations with one unique key only the first is tried. The others follow when it is no
longer waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from afterword.client.operation import Operation
from afterword.errors import StoreLocked
from afterword.model.clock import Clock

FIRST_PAUSE, MAX_PAUSE = 0.05, 0.5  # seconds between two tries
REST = 4  # after a failed try, the pause for other work, in multiples of the time that it took
GIVE_UP_AFTER = 10.0  # seconds, for callers who have set no time of their own

Batch = Sequence[Operation]


@dataclass(slots=True, eq=False)
class _Waiting:
    """Operations that are tried together: any of them may be the one that meets the lock."""

    batch: Batch
    due: float  # monotonic


class Aside:
    """The operations that wait for a lock. Used only by the thread that commits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self.kept: set[Operation] = set()  # all of those; empty in nearly every round
        self._followers: list[Operation] = []
        self._rest_until = float("-inf")  # monotonic

    @property
    def due(self) -> float:
        """The time at which the next try is due (monotonic)."""
        first = min((each.due for each in self._waiting), default=float("inf"))
        return max(first, self._rest_until)

    def put(self, batch: Batch, error: StoreLocked) -> None:
        """Keep these until they are tried again, except those that have waited too long."""
        now = self._clock.monotonic()
        for each in batch:
            each.error = error
            each.aside_since = each.aside_since or now
        kept = [each for each in batch if now - (each.aside_since or now) < GIVE_UP_AFTER]
        if kept:
            waited = now - min(each.aside_since or now for each in kept)
            pause = min(MAX_PAUSE, max(FIRST_PAUSE, waited))
            self._waiting.append(_Waiting(kept, now + pause))
            self.kept.update(kept)

    def keep_followers(self, batch: Batch) -> Batch:
        """Keep those whose unique key an operation here is waiting for, and return the others."""
        wanted = {key for each in self.kept for key in each.unique_keys}
        if not wanted:
            return batch
        followers = [each for each in batch if not wanted.isdisjoint(each.unique_keys)]
        self._followers.extend(followers)
        return [each for each in batch if each not in followers]

    def take(self) -> Batch:
        """Take the operations that are due first, to try them now."""
        first = min(self._waiting, key=lambda each: each.due)
        self._waiting.remove(first)
        self.kept.difference_update(first.batch)
        for each in first.batch:
            each.error = None
        return [each for each in first.batch if not each.abandoned]

    def take_followers(self) -> Batch:
        """Take the operations that waited for a unique key, to queue them again."""
        followers, self._followers = self._followers, []
        return [each for each in followers if not each.abandoned]

    def take_all(self) -> Batch:
        """Take all operations, because none will be tried again."""
        kept, self.kept, self._waiting = list(self.kept), set(), []
        return [*kept, *self.take_followers()]

    def note_failed(self, seconds: float) -> None:
        """Pause the tries after one that took this long and met a lock again."""
        self._rest_until = self._clock.monotonic() + REST * seconds

    def note_done(self) -> None:
        """Try everything at once: one lock is gone, and the others may be gone too."""
        self._rest_until = float("-inf")
        for each in self._waiting:
            each.due = self._rest_until
