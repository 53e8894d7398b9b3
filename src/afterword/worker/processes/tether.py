"""The tie between a child process and its parent: the child never outlives the parent.

When the parent has ended, for any reason, the child's standard input ends. A thread notices this
and kills the child's process group: the child, and the processes that its task has started. But a
thread needs the interpreter's lock, and C code may hold that for minutes. So on Linux the kernel
sends a signal, too. A handler in C, which needs no lock, kills the child a second later if it still
runs.
"""

import contextlib
import ctypes
import os
import signal
import sys
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # requests to end, which the parent handles
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def end_with_parent() -> None:
    """Ask the kernel for SIGHUP when the thread that started this process ends; best effort."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
            # SIGHUP is signal 1. Its handler is alarm(), which is called with the signal's number,
            # as alarm(1): after a second comes SIGALRM, which kills.
            libc.signal(signal.SIGHUP, ctypes.cast(libc.alarm, ctypes.c_void_p))
            libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGHUP, 0, 0, 0)


def end_group() -> NoReturn:
    """End at once: this process, and all that it has started."""
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def leave_signals_to_parent() -> None:
    """Do nothing on SIGINT and SIGTERM.

    By a handler that does nothing, and not by SIG_IGN: programs that a task starts would inherit
    that, and could not be terminated.
    """
    for number in SIGNALS:
        signal.signal(number, _do_nothing)
    if hasattr(signal, "pthread_sigmask"):  # the parent has blocked them until now
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _do_nothing(number: int, frame: object) -> None:
    pass
