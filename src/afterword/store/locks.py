"""Operating-system locks that show if a worker's process is alive.

Each worker keeps an exclusive lock on a file of its own for as long as its process lives; the
kernel drops it when the process dies, for any reason. So if another process can take the lock, the
worker is dead; this is known at once, and without a clock. Without `flock` (Windows), only leases
decide.

A lock file gets its final name only after it is locked: a visible file with a free lock is always
a dead worker's.

The ids of other workers come from the store, so they may be forged. If an id does not have the form
that workers give their ids, it names no file: only the lease decides, as for a file that cannot be
examined.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path

from afterword.errors import ConfigurationError, StoreCorrupt, safe_repr

try:
    import fcntl
except ImportError:  # Windows
    has_locks = False
else:
    has_locks = True


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a worker or a store
_OPEN = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_OPEN |= getattr(os, "O_NONBLOCK", 0)  # whatever kind of file it is


def shared_directory(identity: str) -> Path | None:
    """Return the directory for the locks of a store that is no file, for this machine and user.

    Returns:
        None if there is no such place, as in a container whose files are read-only.

    Raises:
        ConfigurationError: it belongs to another user, who could then make us look dead.
        StoreCorrupt: the identity does not have the form that stores create.
    """
    if not _NAME.fullmatch(identity):
        raise StoreCorrupt(
            "The identity of a store is made of up to 64 letters and digits, but this one is"
            f" {safe_repr(identity)}. Restore the row of the table `store` from a backup."
        )
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
    """The lock files of workers, in a directory that all processes of the machine share.

    Args:
        directory: created when it is needed; None if only leases decide.
    """

    def __init__(self, directory: Path | None) -> None:
        self._held: dict[str, int] = {}
        self.use(directory)

    def use(self, directory: Path | None) -> None:
        """Keep the locks in this directory from now on; none may be held."""
        self._directory = directory if has_locks else None

    def hold(self, worker: str) -> None:
        """Keep this worker's lock until `drop`, or until the process dies.

        Raises:
            ConfigurationError: the id cannot name a file.
        """
        if not _NAME.fullmatch(worker):
            raise ConfigurationError(
                "A worker's id is made of 1 to 64 letters, digits, '_' and '-', but this one is"
                f" {safe_repr(worker)}."
            )
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, exist_ok=True)
        unlocked = self._directory / f"{worker}.new"
        descriptor = os.open(unlocked, os.O_CREAT | _OPEN, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(self._directory / f"{worker}.lock")
        self._held[worker] = descriptor

    def drop(self, worker: str) -> None:
        """Give the lock up, if it is ours, and remove its file if possible."""
        file = self._file(worker)
        if file is not None:
            with contextlib.suppress(OSError):  # another user's, a directory: it stays
                file.unlink(missing_ok=True)
        descriptor = self._held.pop(worker, None)
        if descriptor is not None:
            os.close(descriptor)

    def drop_all(self) -> None:
        """Give up every lock of this process; workers that have not left count as dead then."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def forget(self) -> None:
        """In a forked child: close the files; the child must not keep the parent's locks."""
        self.drop_all()

    def is_dead(self, worker: str) -> bool:
        """True if this worker's process has certainly ended; otherwise its lease decides."""
        file = self._file(worker)
        if file is None or worker in self._held:
            return False
        try:
            descriptor = os.open(file, _OPEN)
        except OSError:  # it is on another machine; or the file is another user's, or no file
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # it is held, or there are no locks here
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def _file(self, worker: str) -> Path | None:
        """The lock file of a worker, if there can be one."""
        if self._directory is None or not _NAME.fullmatch(worker):
            return None
        return self._directory / f"{worker}.lock"
