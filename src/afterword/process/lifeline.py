"""A pipe between a process and its children: a child drains when the pipe is closed.

The parent keeps one end of the child's standard input. It closes that end to make the child drain;
the system closes it when the parent dies, for any reason. So a child outlives its parent only
for as long as it drains, and both cases take the same path.

On a second pipe the child reports to its parent: once the application has started, the time that a
drain may take; and the configuration error that ends the child.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from typing import Any

VARIABLE = "AFTERWORD_REPORTS"  # the descriptor of the pipe that leads back

_reports: list[int] = []  # the descriptor, if there is one


def on_cut(callback: Callable[[], object]) -> None:
    """Call back, in a thread, when the parent closes the pipe or dies.

    It takes over standard input, which reads as empty from now on.
    """
    descriptor = os.dup(0)  # not inherited by processes that the application starts
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
    """Take over the pipe that leads back; processes that the application starts do not get it."""
    with contextlib.suppress(ValueError, OSError):
        descriptor = int(os.environ.pop(VARIABLE, ""))
        os.set_inheritable(descriptor, False)
        _reports.append(descriptor)


def report(**values: Any) -> bool:
    """Report values to the parent; return False if no parent listens."""
    for descriptor in _reports:
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(values).encode() + b"\n")
            return True
    return False
