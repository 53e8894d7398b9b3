"""Draining begins at the signal.

A server starts the lifespan's shutdown only after the last connection has ended, and one open
stream can keep it from ever starting. So the signal itself tells the worker to start nothing any
more; the server's own handler, which was there before, is called as before.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from afterword.model.fork import free_forks

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """Listens for the signals that end a process.

    Args:
        on_signal: called in the main thread, between two steps of whatever it does; it must be
            quick, and may come more than once.
    """

    def __init__(self, on_signal: Callable[[], object]) -> None:
        self._on_signal = on_signal
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Put our handlers around those that are there; in the main thread, where signals are."""
        if threading.current_thread() is not threading.main_thread():
            return
        free_forks()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not None:  # None: not Python's, and so not ours to wrap
                self._before[number] = before
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._on_signal()
        before = self._before[number]
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def stop(self) -> None:
        """Put the handlers back, unless somebody has put others around ours."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._before = {}
