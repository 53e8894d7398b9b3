"""A session of `afterword` in its own terminal: the screen, and pressed keys."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType

from tests import warm

# The terminal must control the process, otherwise Ctrl-C would not reach it.
_START = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from afterword.cli import main
sys.argv[0] = "afterword"
main()
"""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")


class PtySession:
    """A process of `afterword` whose standard streams are a terminal.

    Example:
        with PtySession("top", columns=80) as terminal:
            terminal.wait_for("healthy")
            terminal.press("q")
            assert 0 == terminal.wait()
    """

    def __init__(
        self,
        *command: str,
        columns: int = 80,
        rows: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.received = ""
        self.process = warm.Popen(
            [sys.executable, "-c", _START, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )
        self._theirs = theirs  # kept open: tests look at its settings after the end

    def __enter__(self) -> "PtySession":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def shown(self) -> str:
        """The received text, without the escape codes."""
        return _ESCAPES.sub("", self.received).replace("\r\n", "\n")

    @property
    def echoes(self) -> bool:
        """True if the terminal shows typed keys, as it does for a shell."""
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    def press(self, keys: str) -> None:
        """Press keys; "\\x03" is Ctrl-C."""
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str, timeout: float = 60.0) -> str:
        """Read until this text has been shown; returns everything shown so far."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown, but: {self.shown}"
            self._read(0.05)
        return self.shown

    def wait(self, timeout: float = 60.0) -> int:
        """Read until the process has ended; returns its exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended, and showed: {self.shown}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], timeout)
        if ready:
            self.received += os.read(self._ours, 65_536).decode(errors="replace")
        return bool(ready)
