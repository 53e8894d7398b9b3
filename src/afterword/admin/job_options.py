"""The options stored with a job: read with care, and described in words."""

from collections.abc import Iterator
from dataclasses import replace

from afterword.admin.duration import show_span
from afterword.model.checks import is_number
from afterword.model.job import DEFAULTS, JobOptions, JobRecord


def options_of(job: JobRecord) -> JobOptions:
    """Return a job's options; values that were edited by hand and make no sense are ignored."""
    options = JobOptions.read(job.options)
    wrong = {
        name: getattr(DEFAULTS, name)
        for name in ("retries", "limit", "timeout", "rate")
        if not _is_valid(getattr(options, name))
    }
    return replace(options, **wrong)


def _is_valid(value: object) -> bool:
    return value is None or all(map(is_number, value if isinstance(value, tuple) else (value,)))


def options_in_words(job: JobRecord) -> str:
    """Describe the retries, the timeout and the crash rule of a job."""
    return ", ".join(_in_words(options_of(job)))


def _in_words(options: JobOptions) -> Iterator[str]:
    if options.retries is not None:
        yield f"retries {options.retries}"
    if options.timeout is not None:
        yield f"timeout {options.timeout:g} s"
    if options.on_crash == "fail":
        yield "fails if its worker dies"


def limit_of(job: JobRecord) -> str:
    """Describe the limit and the rate of a job, with their key; empty without a key."""
    if job.limit_key is None:
        return ""
    options = options_of(job)
    most = "" if options.limit is None else f"{options.limit:,} at a time"
    return ", ".join(filter(None, (job.limit_key, most, rate_of(options))))


def rate_of(options: JobOptions) -> str:
    """Describe a rate; empty without one.

    >>> rate_of(JobOptions(rate=(100, 60.0)))
    '100 in 1 min'
    """
    if options.rate is None:
        return ""
    count, seconds = options.rate
    return f"{count:,} in {show_span(seconds)}"
