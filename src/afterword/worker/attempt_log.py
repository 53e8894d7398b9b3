"""The log of an attempt: the last lines that loggers wrote in its context.

It takes records where Python passes them to handlers. No handler is added to the root logger,
because `logging.basicConfig` does nothing once the root logger has one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from afterword.model.outcome import ERROR_LIMIT, storable_text, truncate

LINE_LIMIT = 2_000  # characters of one line, which may have a traceback
LIMIT = ERROR_LIMIT - 100  # characters of all lines together


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)


_FORMATTER = _Formatter(
    "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
)


class AttemptLog:
    """Keeps the last lines; any thread may add some.

    Args:
        most: how many lines are kept.
        redact: takes the text before it is stored, and returns the text to store.

    >>> log = AttemptLog(2, str)
    >>> for line in ("one", "two", "three"):
    ...     log.add(line)
    >>> log.text().splitlines()
    ['... 1 earlier line left out ...', 'two', 'three']
    """

    def __init__(self, most: int, redact: Callable[[str], str]) -> None:
        self._most = most
        self._redact = redact
        self._lines: deque[str] = deque()
        self._size = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Add a line, and remove the oldest ones beyond the limits."""
        line = truncate(line, LINE_LIMIT)
        with self._lock:
            self._lines.append(line)
            self._size += len(line) + 1
            while len(self._lines) > self._most or self._size > LIMIT:
                self._size -= len(self._lines.popleft()) + 1
                self._left_out += 1

    def text(self) -> str | None:
        """Return the text to store; None if nothing was written."""
        with self._lock:
            lines, left_out = list(self._lines), self._left_out
        if not lines:
            return None
        if left_out:
            lines.insert(0, f"... {left_out} earlier line{'s'[: left_out > 1]} left out ...")
        return storable_text(self._redact(storable_text("\n".join(lines))))


class SentLog(AttemptLog):
    """The log of an attempt in a child process, which sends each line to the worker."""

    def __init__(self, send: Callable[[str], None]) -> None:
        super().__init__(0, str)
        self._send = send

    def add(self, line: str) -> None:
        """Send a line."""
        self._send(truncate(line, LINE_LIMIT))


def line_of(record: logging.LogRecord) -> str:
    """Format a record; it never raises, because the logger's handlers report mistakes."""
    try:
        return _FORMATTER.format(record)
    except Exception as error:
        return f"{record.levelname} {record.name}: <unprintable: {type(error).__qualname__}>"


_collecting = threading.Lock()
_finds: list[Callable[[], AttemptLog | None]] = []


def collect(find: Callable[[], AttemptLog | None]) -> None:
    """From now on, add each record of this process to the log of the attempt that wrote it.

    Args:
        find: returns the log of the attempt in whose context it is called; None: there is none.
    """
    with _collecting:
        if find in _finds:
            return
        _finds.append(find)
        handle = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            handle(logger, record)
            if (log := find()) is not None:
                log.add(line_of(record))

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]
