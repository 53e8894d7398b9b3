"""A pipe between a process and those it started: when it is cut, the child knows what to do.

The parent keeps one end of the child's standard input. It closes it to have the child drain; the
system closes it when the parent dies, however that happens. So a child never outlives its parent
for longer than a drain takes, and both cases go the same, well-trodden way.
"""

import os
import threading
from collections.abc import Callable


def on_cut(callback: Callable[[], object]) -> None:
    """Call back, in a thread, when the parent lets go or dies.

    Standard input is taken for this; who reads it from now on finds it empty.
    """
    descriptor = os.dup(0)  # not inherited by what the application starts
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    threading.Thread(
        target=_wait, args=(descriptor, callback), name="afterword-lifeline", daemon=True
    ).start()


def _wait(descriptor: int, callback: Callable[[], object]) -> None:
    while os.read(descriptor, 1024):
        pass
    callback()
