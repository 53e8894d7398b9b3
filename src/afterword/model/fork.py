"""What a forked child must forget: threads do not follow it, and connections are its parent's.

A server that forks after it has loaded the application (`gunicorn --preload`), or a task that uses
multiprocessing, makes such children. Whoever holds something of the kind registers here.
"""

import functools
import os
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Any

_USUAL: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
_held = threading.local()  # what a thread has blocked before it has blocked more for its fork


def in_child(forget: Callable[[], None]) -> None:
    """Call this method in every child of a fork, for as long as its object lives.

    Args:
        forget: a bound method; it must not close what it shares with the parent.
    """
    if hasattr(os, "register_at_fork"):
        method = weakref.WeakMethod(forget)
        os.register_at_fork(after_in_child=lambda: _call(method))


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    forget = method()
    if forget is not None:
        forget()


@functools.cache  # once in a process
def free_forks() -> None:
    """Let SIGINT and SIGTERM end what this process forks, as usual: `multiprocessing` needs it.

    A fork inherits the handlers of a server or worker, which only note that their process is to
    end. The signals wait until it has got rid of them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_pass_signals, after_in_child=_restore_signals
        )


def _hold_signals() -> None:
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _USUAL)


def _pass_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def _restore_signals() -> None:
    for number, usual in _USUAL.items():
        if callable(signal.getsignal(number)):  # and not ignored by whoever started all of it
            signal.signal(number, usual)
    signal.set_wakeup_fd(-1)  # it would wake the parent's event loop, with our signal
    _pass_signals()
