"""The progress of a job: read with care, and shown as text."""

from afterword.client.handle import ProgressRecord
from afterword.model.checks import is_number
from afterword.model.job import JobRecord
from afterword.telemetry import printable

_WIDTH = 20  # characters of a bar


def progress_of(job: JobRecord) -> ProgressRecord | None:
    """Return the progress of a job; None if there is none, or if it makes no sense."""
    try:
        progress = ProgressRecord.read(job.progress)
    except RecursionError:  # deeply nested JSON, written by hand
        return None
    return progress if progress and _is_valid(progress) else None


def _is_valid(progress: ProgressRecord) -> bool:
    numbers = (progress.current, 0 if progress.total is None else progress.total)
    return all(map(is_number, numbers)) and isinstance(progress.message, str)


def share_of(progress: ProgressRecord) -> float | None:
    """Return the share that is done, from 0 to 1; None without a total."""
    return None if progress.ratio is None else max(0.0, progress.ratio)


def in_words(progress: ProgressRecord) -> str:
    """Describe the share, the numbers and the message, as far as they are known.

    >>> in_words(ProgressRecord(4, 10, "resizing")), in_words(ProgressRecord(message="resizing"))
    ('40 %, 4 of 10: resizing', 'resizing')
    """
    share = share_of(progress)
    current, total = _number(progress.current), _number(progress.total or 0)
    if share is not None:
        # Rounded down: 100 % means that all is done.
        numbers = f"{share * 100 // 1:.0f} %, {current} of {total}"
    else:
        numbers = current if progress.current else ""
    return ": ".join(filter(None, (numbers, printable(progress.message))))


def bar(progress: ProgressRecord) -> str:
    """Draw a bar of plain characters; empty without a total.

    >>> bar(ProgressRecord(1, 4))
    '[#####---------------]'
    """
    share = share_of(progress)
    if share is None:
        return ""
    done = int(share * _WIDTH)
    return f"[{'#' * done}{'-' * (_WIDTH - done)}]"


def _number(value: float) -> str:
    return f"{value:,.10g}"
