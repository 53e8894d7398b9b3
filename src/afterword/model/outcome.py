"""How an attempt ended, as a value.

The worker decides (`tasks.policy`), the store performs (`Store.settle`). An outcome says what
is to become of the job; it never does anything by itself.
"""

import os
import re
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType

from afterword.errors import AfterwordError

MAX_INTERRUPTED = 100  # shutdowns that may interrupt a job before it counts as one that never ends
NEVER_ENDS = f"interrupted by {MAX_INTERRUPTED} shutdowns: it does not end within the grace time"
ERROR_LIMIT = 16 * 1024  # characters kept of an error's text: its head and its tail
REDACT_WITHIN = 1.0  # seconds
_OTHER_CALLERS = re.compile(
    r"(?:fastapi|starlette|anyio|asyncio|concurrent|contextlib|wireup|dishka)(?:\.|$)"
)


@dataclass(frozen=True, slots=True)
class Completed:
    """The task returned; `result` is what it returned, as JSON (None: nothing that is kept)."""

    result: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; `error` is the traceback as text, its last line the exception."""

    error: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job will not run (again)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """To be tried again, not before `delay` seconds have passed in the store."""

    delay: float
    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """Interrupted by a shutdown: to be run again by whoever is there; not the task's fault."""


Outcome = Completed | Failed | Cancelled | Retry | Released


def describe(error: BaseException, *, whole: bool = False) -> str:
    """The error as text: never decoded again, at most `ERROR_LIMIT` characters.

    Exceptions are strangers' objects: one whose `__str__` raises must not stop its job from ending.

    Args:
        whole: with the frames of ours that called the user's code.
    """
    try:
        begin = error.__traceback__ if whole else _without_callers(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, begin))
    except BaseException:
        text = f"{type(error).__qualname__}: <unprintable>"
    return storable_text(text)


def reason_of(error: BaseException) -> str:
    """The error's message without its type: the reason that a task gives; as careful as that."""
    try:
        return storable_text(str(error))
    except BaseException:
        return f"<unprintable {type(error).__qualname__}>"


def summarize(error: BaseException) -> str:
    """The error's message alone, for a job that could not be started; as careful as `describe`."""
    if isinstance(error, AfterwordError):
        return storable_text(str(error))
    return storable_text("".join(traceback.format_exception_only(error)))


def _without_callers(frames: TracebackType | None) -> TracebackType | None:
    """A traceback that begins at the user's code, not at those who called it."""
    begin = _first_not(_is_ours, frames)
    # What nothing of the user's has a part in is told with the frames of the others.
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
    """Whether it is of a task of the demonstration, which counts as a user's."""
    return frame.f_code.co_filename.startswith(_DEMO)


def _is_other_caller(frame: FrameType) -> bool:
    """Whether it is of those who may stand between us and the user's code."""
    return _OTHER_CALLERS.match(frame.f_globals.get("__name__", "")) is not None


# As the code itself says where it is from: this module is afterword/model/outcome.py.
_PACKAGE = os.path.join(  # noqa: PTH118
    os.path.dirname(os.path.dirname(describe.__code__.co_filename)),  # noqa: PTH120
    "",
)
_DEMO = os.path.join(_PACKAGE, "demo", "")  # noqa: PTH118


def storable_text(text: str) -> str:
    """A text of strangers as all stores can hold it: of a limited length, without NUL and such.

    >>> storable_text("a\\0b\\ud800")
    'a?b?'
    """
    return truncate(text.encode(errors="replace").decode().replace("\0", "?").rstrip())


def redacting(redact: Callable[[str], str] | None) -> Callable[[str], str]:
    """The application's own redaction of error texts, made safe: when it fails, nothing is kept.

    >>> redacting(lambda text: text.replace("s3cret", "***"))("password s3cret")
    'password ***'
    """
    return (lambda text: text) if redact is None else _Redaction(redact)


class _Redaction:
    """Calls it in a thread of its own: one that hangs is waited for once, and only so long."""

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
    """The head and the tail of a text, with the count of what was left out between them.

    >>> truncate("abcdefghij", limit=4)
    'ab\\n... 6 characters left out ...\\nij'
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
