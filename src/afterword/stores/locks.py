"""Operating-system locks that tell whether a worker's process is alive.

Each worker keeps an exclusive lock on a file of its own for as long as its process lives; the
kernel drops it when the process dies, however it dies. Who can take the lock knows that the owner
is dead, at once and without a clock. Where there is no `flock` (Windows), leases alone decide.

A lock file gets its final name only after it is locked: a visible file with a free lock is always
a dead worker's.
"""

import os
import tempfile
from pathlib import Path

from afterword.errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    has_locks = False
else:
    has_locks = True


def shared_directory(identity: str) -> Path | None:
    """Where the processes of this machine and user keep the locks of a store that is no file.

    Returns:
        None if there is no such place, as in a container whose files are read-only.

    Raises:
        ConfigurationError: somebody else has made it, who could then pretend that we are dead.
    """
    user = os.getuid() if has_locks else 0
    directory = Path(tempfile.gettempdir()) / f"afterword-{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        owner = directory.stat().st_uid
    except OSError:
        return None
    if has_locks and owner != user:
        raise ConfigurationError(
            f"{directory} is for the locks of user {user}'s workers, but belongs to user {owner}."
            " Remove it, or set TMPDIR to another directory."
        )
    return directory / identity


class Locks:
    """The lock files of workers, in a directory that all processes of the machine agree on.

    Args:
        directory: made when it is needed; None where leases alone decide.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory if has_locks else None
        self._held: dict[str, int] = {}

    def hold(self, worker: str) -> None:
        """Keep this worker's lock until `drop`, or until the process dies."""
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, exist_ok=True)
        unlocked = self._directory / f"{worker}.new"
        descriptor = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(self._directory / f"{worker}.lock")
        self._held[worker] = descriptor

    def drop(self, worker: str) -> None:
        """Give the lock up, if it is ours, and remove its file."""
        if self._directory is not None:
            (self._directory / f"{worker}.lock").unlink(missing_ok=True)
        descriptor = self._held.pop(worker, None)
        if descriptor is not None:
            os.close(descriptor)

    def drop_all(self) -> None:
        """Give up everything this process holds; whoever has not left looks dead from now on."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def forget(self) -> None:
        """In a forked child: the locks stay the parent's, which the child must not keep for it."""
        self.drop_all()

    def is_dead(self, worker: str) -> bool:
        """Whether this worker's process is known to have ended."""
        if self._directory is None or worker in self._held:
            return False
        try:
            descriptor = os.open(self._directory / f"{worker}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return (
                False  # it is on another machine, or on a system without locks: its lease decides
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)
