"""Bells: how the processes that share a store's file wake each other.

Each process that waits for jobs has a bell: a named pipe in the directory of the workers' locks,
and a thread that reads it. A process that has committed a claimable job writes one byte into each
pipe. That is a hint, so it never waits and never fails:

- A full pipe already wakes its reader.
- A pipe gets its final name once it is read from, and loses the name before its reader ends. So a
  visible pipe without a reader belongs to a dead process, and the process that finds it removes it.
- If there are no named pipes (Windows), or none can be created, the processes poll at short
  intervals.
"""

import errno
import os
import secrets
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from afterword import telemetry

PACE = 0.002  # seconds from one call of `heard` to the next: a stream of jobs is claimed in batches
_LOOK_EVERY = 1.0  # seconds: clocks of file systems are too coarse to show every new bell
_MANY = 65_536  # bytes; all that a pipe can hold
_OPEN = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Bell:
    """The bell of this process: until `take_down`, a thread waits for others to ring it.

    Args:
        directory: made when it is needed.
        heard: called in that thread when the bell is rung, at once but not too often.

    Raises:
        OSError: there are no named pipes here, or none can be made.
    """

    def __init__(self, directory: Path, heard: Callable[[], object]) -> None:
        self.path = directory / f"{secrets.token_hex(8)}.bell"
        self._heard = heard
        self._stopping = False
        self._reader, self._writer = _new_pipe(self.path)
        self._thread = threading.Thread(target=self._run, name="afterword-bell", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while os.read(self._reader, _MANY) and not self._stopping:
            try:
                self._heard()
            except Exception as error:
                telemetry.step_failed(error)
            time.sleep(PACE)

    def take_down(self) -> None:
        """Remove the bell, and end its thread."""
        with suppress(OSError):  # the directory was removed
            self.path.unlink(missing_ok=True)
        self._stopping = True
        with suppress(BlockingIOError):  # it is full: that wakes the thread as well
            os.write(self._writer, b"x")
        self._thread.join()
        self.forget()

    def forget(self) -> None:
        """In a forked child: the bell stays the parent's."""
        os.close(self._reader)
        os.close(self._writer)


def _new_pipe(path: Path) -> tuple[int, int]:
    """Make a named pipe that is read from before it can be seen; return both its ends.

    One end is for our own thread to be woken by; while it is open, a read waits for more.
    """
    if not hasattr(os, "mkfifo"):
        raise OSError(errno.ENOSYS, "This system has no named pipes.")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unseen = path.with_suffix(".new")
    os.mkfifo(unseen, 0o600)
    ends: list[int] = []
    try:
        ends += [os.open(unseen, os.O_RDONLY | _OPEN)]
        ends += [os.open(unseen, os.O_WRONLY | _OPEN)]
        os.set_blocking(ends[0], True)
        unseen.rename(path)
    except BaseException:
        for each in ends:
            os.close(each)
        unseen.unlink()
        raise
    return ends[0], ends[1]


class Bells:
    """The bells of all processes, in a directory that these agree on.

    Args:
        directory: need not exist.

    Example:
        bells = Bells(Path("jobs.db-workers"))
        bells.listen(wake_up)
        bells.ring()  # wakes the others
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own: Bell | None = None
        self._others: dict[str, int] = {}  # name: the descriptor of the end that we write to
        self._seen: tuple[int, int] | None = None  # which directory, and when it had changed
        self._look_at = 0.0  # monotonic
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ to be woken

    def listen(self, heard: Callable[[], object]) -> bool:
        """Call `heard`, in a thread, whenever another process rings; from now on, until `close`.

        Returns:
            False: there are no named pipes here.
        """
        self._take_down()
        try:
            self._own = Bell(self._directory, heard)
        except OSError:
            return False
        return True

    def _take_down(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            own.take_down()

    def close(self) -> None:
        """Hear and ring no more; harmless when closed."""
        self._take_down()
        with self._lock:
            self._let_go(list(self._others))

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._lock = threading.Lock()
        self._let_go(list(self._others))
        if self._own is not None:
            self._own.forget()
            self._own = None

    # ------------------------------------------------------------------ to wake the others

    def ring(self) -> None:
        """Wake every process that listens, but this one; from any thread."""
        with self._lock:
            self._look_around()
            if self._others:
                with _no_sigpipe():
                    gone = [name for name, end in self._others.items() if not _rung(end)]
                self._let_go(gone)

    def _look_around(self) -> None:
        """Open the bells that are new, and close those that have been taken down."""
        seen, now = self._state_of_directory(), time.monotonic()
        if seen == self._seen and now < self._look_at:
            return
        self._seen, self._look_at = seen, now + _LOOK_EVERY
        names = set(self._names()) if seen is not None else set()
        self._let_go([name for name in self._others if name not in names])
        for name in names - set(self._others):
            self._get_to_know(name)

    def _state_of_directory(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._directory)  # noqa: PTH116 - called for each transaction
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _names(self) -> list[str]:
        own = self._own.path.name if self._own is not None else None
        with suppress(OSError):
            found = os.listdir(self._directory)  # noqa: PTH208 - see above
            return [name for name in found if name.endswith(".bell") and name != own]
        return []

    def _get_to_know(self, name: str) -> None:
        path = self._directory / name
        try:
            end = os.open(path, os.O_WRONLY | _OPEN)
        except OSError as error:
            if error.errno == errno.ENXIO:  # it has no reader, see above
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            return
        if stat.S_ISFIFO(os.fstat(end).st_mode):
            self._others[name] = end
        else:
            os.close(end)

    def _let_go(self, names: list[str]) -> None:
        for name in names:
            os.close(self._others.pop(name))
            self._look_at = 0.0


def _rung(end: int) -> bool:
    """Write to a pipe; False: it has no reader any more."""
    try:
        os.write(end, b"x")
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def _no_sigpipe() -> Iterator[None]:
    """Block SIGPIPE: a pipe without a reader must not end the process.

    Python ignores this signal, but scripts that are used in a shell's pipes may have enabled it.
    """
    pipe = getattr(signal, "SIGPIPE", None)
    if pipe is None or signal.getsignal(pipe) == signal.SIG_IGN:
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {pipe})
    try:
        yield
        if pipe in signal.sigpending() and pipe not in blocked:
            signal.sigwait({pipe})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
