"""Single key presses, if there is a terminal."""

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import termios
    import tty
except ImportError:  # Windows
    has_keys = False
else:
    has_keys = True


@contextmanager
def keys() -> Iterator["Keyboard"]:
    """Read keys at once and without an echo; the terminal is restored afterwards."""
    if not has_keys or sys.stdin is None or not sys.stdin.isatty():
        yield Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)  # Ctrl-C still sends a signal
    try:
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Keyboard:
    """The keys of a terminal; without a terminal there are none."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def pressed(self, timeout: float) -> str:
        """Return the key that is pressed within `timeout` seconds; empty if there is none."""
        if self._descriptor is None:
            time.sleep(timeout)
            return ""
        ready, _, _ = select.select([self._descriptor], [], [], timeout)
        if not ready:
            return ""
        key = sys.stdin.buffer.raw.read(1) if hasattr(sys.stdin.buffer, "raw") else b""
        return key.decode(errors="replace") if key else "q"  # the terminal is gone
