"""Answers to options that do not exist, with the line that would be right."""

import difflib
from collections.abc import Collection, Iterable, Mapping

from afterword.errors import ConfigurationError

# What other engines call the options.
_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("retry", "max_retries", "max_tries", "attempts", "max_attempts"), "retries"),
    **dict.fromkeys(("countdown", "defer", "defer_by", "delay_seconds", "wait"), "delay"),
    **dict.fromkeys(("eta", "defer_until", "schedule_at", "schedule", "at"), "run_at"),
    **dict.fromkeys(("time_limit", "soft_time_limit", "job_timeout", "max_age"), "timeout"),
    **dict.fromkeys(("retry_backoff", "retry_delay", "default_retry_delay"), "backoff"),
    **dict.fromkeys(("autoretry_for", "throws", "retry_when"), "retry_on"),
    **dict.fromkeys(("rate_limit", "throttle"), "rate"),
    **dict.fromkeys(("concurrency", "max_concurrency", "max_jobs"), "limit"),
    **dict.fromkeys(("unique_key", "job_id", "task_id", "dedup_key", "queueing_lock"), "unique"),
    **dict.fromkeys(("queue_name", "channel"), "queue"),
    **dict.fromkeys(("tz", "time_zone", "zone"), "timezone"),
    **dict.fromkeys(("minutes", "hours", "days", "interval", "period"), "seconds"),
    **dict.fromkeys(("cron", "crontab"), "expression"),
    "tag": "tags",
}


TASK_LINE = "@task({}=...)"
CALL_LINE = "options({}=...).add_task(f)"
EVERY_LINE = "@afterword.every({}=...)"


def require_known(
    given: Iterable[str], known: Collection[str], line: str, others: Collection[str], other: str
) -> None:
    """Refuse options that do not exist in this place.

    Args:
        known: the options of this place; `line` shows how they are written.
        others: the options of the other place; `other` shows how these are written.

    Raises:
        ConfigurationError: one is unknown; the message has the right line.
    """
    for name in given:
        if name not in known:
            meant = _meant(name, (*known, *others))
            where = line if meant in known else other
            right = f"    {where.format(meant)}  # correct!" if meant else "There is none like it."
            raise ConfigurationError(
                f"{name!r} is not one of the options {sorted(known)}.\n"
                f"    {line.format(name)}  # incorrect!\n{right}"
            )


def advice_on_arguments(func: str, given: Iterable[str], known: Collection[str]) -> str:
    """Write the right line if a call passes an option of the call to its function; else nothing.

    Args:
        func: the name of the function.
        given: the keywords that the function does not have.
        known: the options of a call.

    >>> print(advice_on_arguments("send", ["delay"], ["delay", "queue"]))
    <BLANKLINE>
        add_task(send, delay=...)  # incorrect!
        options(delay=...).add_task(send)  # correct!
    """
    for name in given:
        meant = _OTHER_NAMES.get(name, name)
        if meant in known:
            return (
                f"\n    add_task({func}, {name}=...)  # incorrect!"
                f"\n    options({meant}=...).add_task({func})  # correct!"
            )
    return ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask if another name was meant, to be put behind a sentence; nothing if there is none like it.

    >>> did_you_mean("mial", ["default", "mail"])
    " Did you mean 'mail'?"
    """
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _meant(name: str, known: Collection[str]) -> str | None:
    """Return the option that was probably meant."""
    if name in known:
        return name
    if _OTHER_NAMES.get(name) in known:
        return _OTHER_NAMES[name]
    close = difflib.get_close_matches(name, known, n=1)
    return close[0] if close else None
