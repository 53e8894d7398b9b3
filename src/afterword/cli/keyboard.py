"""Keys as they are pressed, where there is a terminal that has keys."""

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
    """Get each key at once and without an echo; the terminal is as before afterwards."""
    if not has_keys or sys.stdin is None or not sys.stdin.isatty():
        yield Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)  # Ctrl-C is a signal still
    try:
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Keyboard:
    """The keys of a terminal; without one, nobody ever presses any."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def pressed(self, timeout: float) -> str:
        """The key that is pressed within `timeout` seconds; empty if none is."""
        if self._descriptor is None:
            time.sleep(timeout)
            return ""
        ready, _, _ = select.select([self._descriptor], [], [], timeout)
        if not ready:
            return ""
        key = sys.stdin.buffer.raw.read(1) if hasattr(sys.stdin.buffer, "raw") else b""
        return key.decode(errors="replace") if key else "q"  # the terminal has gone
