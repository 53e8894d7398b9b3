"""A pipe between a process and those it started: when it is cut, the child knows what to do.

The parent keeps one end of the child's standard input. It closes it to have the child drain; the
system closes it when the parent dies, however that happens. So a child never outlives its parent
for longer than a drain takes, and both cases go the same, well-trodden way.

A second pipe leads back. On it the child reports what its parent cannot know: how long a drain may
take, once the application has started, and the configuration error that ends it.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from typing import Any

VARIABLE = "AFTERWORD_REPORTS"  # the descriptor of the pipe that leads back

_reports: list[int] = []  # that descriptor, if there is one


def on_cut(callback: Callable[[], object]) -> None:
    """Call back, in a thread, when the parent lets go or dies.

    Standard input is taken for this; who reads it from now on finds it empty.
    """
    descriptor = os.dup(0)  # not inherited by what the application starts
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    _take_reports()
    threading.Thread(
        target=_wait, args=(descriptor, callback), name="afterword-lifeline", daemon=True
    ).start()


def _wait(descriptor: int, callback: Callable[[], object]) -> None:
    while os.read(descriptor, 1024):
        pass
    callback()


def _take_reports() -> None:
    """Take the pipe that leads back, so that what the application starts does not see it."""
    with contextlib.suppress(ValueError, OSError):
        descriptor = int(os.environ.pop(VARIABLE, ""))
        os.set_inheritable(descriptor, False)
        _reports.append(descriptor)


def report(**said: Any) -> bool:
    """Tell the parent; False: there is none that listens."""
    for descriptor in _reports:
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(said).encode() + b"\n")
            return True
    return False
