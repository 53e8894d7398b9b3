"""How far a job has come, by its own account: read with care, and shown as text."""

import math

from afterword.client.handle import ProgressRecord
from afterword.model.job import JobRecord
from afterword.telemetry import printable

_WIDTH = 20  # characters of a bar


def progress_of(job: JobRecord) -> ProgressRecord | None:
    """What a job has said; None if it has not, or if that makes no sense."""
    try:
        said = ProgressRecord.read(job.progress)
    except RecursionError:  # JSON that nobody but a person's hand has written
        return None
    return said if said and _makes_sense(said) else None


def _makes_sense(said: ProgressRecord) -> bool:
    numbers = (said.current, 0 if said.total is None else said.total)
    return all(map(_is_number, numbers)) and isinstance(said.message, str)


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def share_of(said: ProgressRecord) -> float | None:
    """From 0 to 1, whatever the job says; None without a total."""
    return None if said.ratio is None else max(0.0, said.ratio)


def in_words(said: ProgressRecord) -> str:
    """The share, the numbers and the message, as far as they are known.

    >>> in_words(ProgressRecord(4, 10, "resizing")), in_words(ProgressRecord(message="resizing"))
    ('40 %, 4 of 10: resizing', 'resizing')
    """
    share = share_of(said)
    if share is not None:
        # Rounded down: 100 % is said of what is done.
        numbers = f"{share * 100 // 1:.0f} %, {_number(said.current)} of {_number(said.total or 0)}"
    else:
        numbers = _number(said.current) if said.current else ""
    return ": ".join(filter(None, (numbers, printable(said.message))))


def bar(said: ProgressRecord) -> str:
    """A bar of plain characters; empty without a total.

    >>> bar(ProgressRecord(1, 4))
    '[#####---------------]'
    """
    share = share_of(said)
    if share is None:
        return ""
    done = int(share * _WIDTH)
    return f"[{'#' * done}{'-' * (_WIDTH - done)}]"


def _number(value: float) -> str:
    return f"{value:,.10g}"
