"""Operating-system locks that tell whether a worker's process is alive.

Each worker keeps an exclusive lock on a file of its own for as long as its process lives; the
kernel drops it when the process dies, however it dies. Who can take the lock knows that the owner
is dead, at once and without a clock. Where there is no `flock` (Windows), leases alone decide.

A lock file gets its final name only after it is locked: a visible file with a free lock is always
a dead worker's.
"""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    has_locks = False
else:
    has_locks = True


class Locks:
    """The lock files of workers, in a directory that all processes of the machine agree on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}

    def hold(self, worker: str) -> None:
        """Keep this worker's lock until `drop`, or until the process dies."""
        if not has_locks:
            return
        self._directory.mkdir(mode=0o700, exist_ok=True)
        unlocked = self._directory / f"{worker}.new"
        descriptor = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(self._file(worker))
        self._held[worker] = descriptor

    def drop(self, worker: str) -> None:
        """Give the lock up, if it is ours, and remove its file."""
        self._file(worker).unlink(missing_ok=True)
        descriptor = self._held.pop(worker, None)
        if descriptor is not None:
            os.close(descriptor)

    def drop_all(self) -> None:
        """Give up everything this process holds; whoever has not left looks dead from now on."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def is_dead(self, worker: str) -> bool:
        """Whether this worker's process is known to have ended."""
        if not has_locks or worker in self._held:
            return False
        try:
            descriptor = os.open(self._file(worker), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False  # it joined from a system without locks: its lease decides
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def _file(self, worker: str) -> Path:
        return self._directory / f"{worker}.lock"
