"""Clean-up in forked children: a fork copies no threads, and connections belong to the parent.

A server that forks after it has loaded the application (`gunicorn --preload`), or a task that uses
multiprocessing, makes such children. Every object that holds threads or connections registers here.
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
_held = threading.local()  # the signal mask of a thread before its fork


def in_child(forget: Callable[[], None]) -> None:
    """Call this method in every forked child, for as long as its object lives.

    Args:
        forget: a bound method; it must not close anything that is shared with the parent.
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
    """Restore the default handlers of SIGINT and SIGTERM in forked children.

    A child inherits the handlers of the server or worker, which only record that their process
    should end; `multiprocessing` relies on signals that end the child. Both signals stay blocked
    until the child has restored the defaults.
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
        if callable(signal.getsignal(number)):  # neither the default nor ignored
            signal.signal(number, usual)
    signal.set_wakeup_fd(-1)  # it belongs to the parent's event loop, and would wake that
    _pass_signals()
