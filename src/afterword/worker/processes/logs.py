"""Log records of a child process are handled by its parent, by the logger of the same name.

So they go where the application sends its logs, once. The child's own handlers are not called: with
a module that adds one when it is imported, each line would come twice, and a rotating file would
have two writers.
"""

import logging
from collections.abc import Callable
from typing import Any

_MESSAGE = logging.Formatter("%(message)s")  # and the traceback, if there is one
_OBJECTS = ("args", "exc_info", "exc_text", "stack_info")  # part of the message by then


class _Forwarding(logging.Handler):
    """Sends records away as plain values."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(_plain(record))
        except Exception:
            self.handleError(record)


def _plain(record: logging.LogRecord) -> dict[str, Any]:
    """A record as JSON can hold it; an object that the caller gave as `extra` becomes text."""
    values = {**vars(record), "msg": _MESSAGE.format(record)}
    values |= dict.fromkeys(_OBJECTS)
    plain = str | int | float | None
    return {key: each if isinstance(each, plain) else str(each) for key, each in values.items()}


def forward(send: Callable[[dict[str, Any]], None], is_open: Callable[[], bool]) -> None:
    """Send each record to the parent while the pipe is open; for the child."""
    forwarding = _Forwarding(send)
    handle_here = logging.Logger.callHandlers

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        if is_open():
            forwarding.handle(record)
        else:
            handle_here(logger, record)

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]


def replay(values: dict[str, Any]) -> None:
    """Handle a record of a child; for the parent."""
    record = logging.makeLogRecord(values)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def levels() -> dict[str, int]:
    """The levels of all loggers that have one; for the parent."""
    loggers = list(logging.root.manager.loggerDict.items())
    named = {name: each.level for name, each in loggers if isinstance(each, logging.Logger)}
    return {"root": logging.root.level, **{name: level for name, level in named.items() if level}}


def set_levels(levels: dict[str, int]) -> None:
    """Set the parent's levels in the child, so that only useful records are sent."""
    for name, level in levels.items():
        logger = logging.getLogger(name)
        if logger.level != level:  # setting one makes every logger forget what it has cached
            logger.setLevel(level)
