"""Signal handling: draining begins at the signal.

A server starts the lifespan's shutdown only after the last connection has ended, and a single open
stream can delay it for ever. So the worker stops claiming at the signal itself; the server's own
handler is then called as before.
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
        on_signal: called in the main thread, between any two steps of the program; it must be
            quick, and may be called more than once.
    """

    def __init__(self, on_signal: Callable[[], object]) -> None:
        self._on_signal = on_signal
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Wrap the present handlers in ours; no-op outside of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        free_forks()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not None:  # None: not set by Python, so it cannot be wrapped
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
        """Restore the earlier handlers, except where ours has been replaced or wrapped."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._before = {}
