"""What was said of a job when it was added: read with care, and in words."""

import math
from collections.abc import Iterator
from dataclasses import replace

from afterword.cli.duration import show_span
from afterword.model.job import DEFAULTS, JobOptions, JobRecord


def options_of(job: JobRecord) -> JobOptions:
    """Its options; what somebody has written there by hand and cannot be is not heard."""
    try:
        said = JobOptions.read(job.options)
    except RecursionError:
        return DEFAULTS
    wrong = {
        name: getattr(DEFAULTS, name)
        for name, makes_sense in (
            ("retries", _is_number(said.retries)),
            ("limit", _is_number(said.limit)),
            ("timeout", _is_number(said.timeout)),
            ("rate", said.rate is None or all(map(_is_number, said.rate))),
        )
        if not makes_sense
    }
    return replace(said, **wrong)


def _is_number(value: object) -> bool:
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def said_of(job: JobRecord) -> str:
    """What was said of this call alone, and has to be known of it everywhere."""
    return ", ".join(_said_of(options_of(job)))


def _said_of(options: JobOptions) -> Iterator[str]:
    if options.retries is not None:
        yield f"retries {options.retries}"
    if options.timeout is not None:
        yield f"timeout {options.timeout:g} s"
    if options.on_crash == "fail":
        yield "fails if its worker dies"


def limit_of(job: JobRecord) -> str:
    """The key of its limit and its rate, and what they are."""
    if job.limit_key is None:
        return ""
    options = options_of(job)
    most = "" if options.limit is None else f"{options.limit:,} at a time"
    return ", ".join(filter(None, (job.limit_key, most, rate_of(options))))


def rate_of(options: JobOptions) -> str:
    """How many may start within which time; empty without a rate.

    >>> rate_of(JobOptions(rate=(100, 60.0)))
    '100 in 1 min'
    """
    if options.rate is None:
        return ""
    count, seconds = options.rate
    return f"{count:,} in {show_span(seconds)}"
