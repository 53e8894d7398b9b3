"""What a forked child must forget: threads do not follow it, and connections are its parent's.

A server that forks after it has loaded the application (`gunicorn --preload`), or a task that uses
multiprocessing, makes such children. Whoever holds something of the kind registers here.
"""

import os
import weakref
from collections.abc import Callable


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
