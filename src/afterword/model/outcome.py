"""Outcomes: values that say how an attempt ended.

The worker decides (`tasks.policy`), the store applies (`Store.settle`). An outcome determines what
happens to the job next; it does nothing by itself.
"""

import os
import re
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType

from afterword.errors import AfterwordError

MAX_INTERRUPTED = 100  # shutdowns that may interrupt a job before it fails
NEVER_ENDS = f"interrupted by {MAX_INTERRUPTED} shutdowns: it does not end within the grace time"
ERROR_LIMIT = 16 * 1024  # characters kept of an error's text, from its head and its tail
REDACT_WITHIN = 1.0  # seconds
_OTHER_CALLERS = re.compile(
    r"(?:fastapi|starlette|anyio|asyncio|concurrent|contextlib|wireup|dishka)(?:\.|$)"
)


@dataclass(frozen=True, slots=True)
class Completed:
    """The task returned; `result` is its return value as JSON (None: nothing is kept)."""

    result: str | None = None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The job was sent to the fleet of another system; the end of its work is not known here."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; `error` is the traceback as text, with the exception on its last line."""

    error: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled and will not run again."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The job is to be retried, at the earliest after `delay` seconds of the store's clock."""

    delay: float
    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """A shutdown interrupted the attempt; any worker may run the job again."""


Outcome = Completed | HandedOver | Failed | Cancelled | RetryAt | Released


def describe(error: BaseException, *, whole: bool = False) -> str:
    """Format an error as text of at most `ERROR_LIMIT` characters; it is never parsed again.

    Exceptions are user objects: even if a `__str__` raises, the job must end.

    Args:
        whole: include our own frames, which called the user's code.
    """
    try:
        begin = error.__traceback__ if whole else without_callers(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, begin))
    except BaseException:
        text = f"{type(error).__qualname__}: <unprintable>"
    return storable_text(text)


def reason_of(error: BaseException) -> str:
    """Return the error's message without its type; safe against a `__str__` that raises."""
    try:
        return storable_text(str(error))
    except BaseException:
        return f"<unprintable {type(error).__qualname__}>"


def summarize(error: BaseException) -> str:
    """Return the error without its traceback, for the log and for jobs that could not start."""
    if isinstance(error, AfterwordError):
        return storable_text(str(error))
    return storable_text("".join(traceback.format_exception_only(error)))


def without_callers(frames: TracebackType | None) -> TracebackType | None:
    """Skip the leading frames of a traceback that only called the user's code."""
    begin = _first_not(_is_ours, frames)
    # An error without any frame of the user's keeps the frames of the other libraries.
    return _first_not(lambda frame: _is_ours(frame) or _is_other_caller(frame), begin) or begin


def _first_not(
    is_caller: Callable[[FrameType], bool], frames: TracebackType | None
) -> TracebackType | None:
    while frames is not None and is_caller(frames.tb_frame):
        frames = frames.tb_next
    return frames


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE) and not _is_demo(frame)


def _is_demo(frame: FrameType) -> bool:
    """Return True for a frame of the demo application, whose tasks count as user code."""
    return frame.f_code.co_filename.startswith(_DEMO)


def _is_other_caller(frame: FrameType) -> bool:
    """Return True for a frame of a library that can be between our code and the user's."""
    return _OTHER_CALLERS.match(frame.f_globals.get("__name__", "")) is not None


# Taken from a code object, to match `co_filename`: this module is afterword/model/outcome.py.
_PACKAGE = os.path.join(  # noqa: PTH118
    os.path.dirname(os.path.dirname(describe.__code__.co_filename)),  # noqa: PTH120
    "",
)
_DEMO = os.path.join(_PACKAGE, "demo", "")  # noqa: PTH118


def storable_text(text: str) -> str:
    """Make text storable in every store: limit its length, replace NUL and lone surrogates.

    >>> storable_text("a\\0b\\ud800")
    'a?b?'
    """
    return truncate(text.encode(errors="replace").decode().replace("\0", "?").rstrip())


def redacting(redact: Callable[[str], str] | None) -> Callable[[str], str]:
    """Wrap the application's `redact` so that no text is kept when it fails or hangs.

    >>> redacting(lambda text: text.replace("s3cret", "***"))("password s3cret")
    'password ***'
    """
    return (lambda text: text) if redact is None else _Redaction(redact)


def shown(error: BaseException, redact: Callable[[str], str]) -> BaseException:
    """Return the exception as others may see it: its message has gone through `redact`.

    The replacement has the name of the original's type and its traceback, by which errors are
    grouped.
    """
    if not isinstance(redact, _Redaction):
        return error
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    stand_in: type[Exception] = type(kind.__name__, (Exception,), names)
    return stand_in(redact(reason_of(error))).with_traceback(error.__traceback__)


class _Redaction:
    """Runs `redact` in a thread of its own, and waits for it only for a limited time.

    While one call hangs, further calls are not started.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._hanging: threading.Thread | None = None

    def __call__(self, text: str) -> str:
        if self._hanging is not None and self._hanging.is_alive():
            return "<not kept: an earlier call of redact has not ended yet>"
        kept: list[str] = []
        thread = threading.Thread(target=lambda: kept.append(self._kept(text)), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has none left
            return "<not kept: there was no thread for redact>"
        thread.join(REDACT_WITHIN)
        if thread.is_alive():
            self._hanging = thread
            return f"<not kept: redact took longer than {REDACT_WITHIN:g} seconds>"
        return kept[0]

    def _kept(self, text: str) -> str:
        try:
            return storable_text(str(self._redact(text)))
        except BaseException as error:
            return f"<not kept: redact raised {type(error).__qualname__}>"


def truncate(text: str, limit: int = ERROR_LIMIT) -> str:
    """Shorten a text to its head and its tail, with the number of omitted characters between.

    >>> truncate("abcdefghij", limit=4)
    'ab\\n... 6 characters left out ...\\nij'
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
