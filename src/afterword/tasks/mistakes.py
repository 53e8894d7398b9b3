"""Error messages for options that do not exist, with the correct line."""

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
    "tag": "tags",
}


_SCHEDULES = ("cron", "crons", "crontab", "cron_string")
# What other schedulers call the options of `every`, and how they are written there.
_OF_SCHEDULES: Mapping[str, str] = {
    **dict.fromkeys(_SCHEDULES, '"0 3 * * *"'),
    **dict.fromkeys(("minutes", "minute"), "seconds=60 * ..."),
    **dict.fromkeys(("hours", "hour"), "seconds=3600 * ..."),
    **dict.fromkeys(("days", "day"), "seconds=86400 * ..."),
    **dict.fromkeys(("interval", "period", "second"), "seconds=..."),
    **dict.fromkeys(("tz", "tzinfo", "time_zone", "zone"), '"0 3 * * *", timezone=...'),
    "id": "..., name=...",
    "coalesce": '..., missed="one"',
    "max_instances": '..., overlap="skip"',
    "misfire_grace_time": "..., grace=...",
}

_LIKE = 0.65  # from 0 to 1: "durable" is not like "url"
TASK_LINE = "@task({}=...)"
CALL_LINE = "options({}=...).add_task(f)"


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
            if others and name in _SCHEDULES:
                right = '    @afterword.every("0 3 * * *")  # correct!'
            raise ConfigurationError(
                f"{name!r} is not one of the options {sorted(known)}.\n"
                f"    {line.format(name)}  # incorrect!\n{right}"
            )


def refuse_of_schedule(given: Iterable[str], known: Collection[str], task: Collection[str]) -> None:
    """Refuse options that `every` does not have.

    Args:
        known: the options of `every`; `task` are those of `@task`, which stands below it.

    Raises:
        ConfigurationError: there is one; the message has the right line.
    """
    for name in given:
        other = _OTHER_NAMES.get(name)
        close = other if other in task else _meant(name, (*known, *task))
        if name in _OF_SCHEDULES:
            right = f"@afterword.every({_OF_SCHEDULES[name]})  # correct!"
        elif close in known and close != other:
            right = f"@afterword.every(..., {close}=...)  # correct!"
        elif close:
            right = f"@afterword.every(...)\n    @task({close}=...)  # correct!"
        else:
            right = "There is none like it."
        raise ConfigurationError(
            f"{name!r} is not one of the options {sorted(known)} of a schedule.\n"
            f"    @afterword.every({name}=...)  # incorrect!\n    {right}"
        )


def advice_on_arguments(
    func: str, given: Iterable[str], known: Collection[str], task: Collection[str] = ()
) -> str:
    """Write the right line if a call passes an option to its function; else nothing.

    Args:
        func: the name of the function.
        given: the keywords that the function does not have.
        known: the options of a call; `task` are those of `@task`.

    >>> print(advice_on_arguments("send", ["delay"], ["delay", "queue"]))
    <BLANKLINE>
        add_task(send, delay=...)  # incorrect!
        options(delay=...).add_task(send)  # correct!
    """
    for name in given:
        meant = _OTHER_NAMES.get(name, name)
        if meant in known:
            right = f"options({meant}=...).add_task({func})"
        elif meant in task:
            right = f"@task({meant}=...)"
        elif name in ("args", "kwargs"):
            right = f"add_task({func}, first, second, name=third)"
        else:
            continue
        return f"\n    add_task({func}, {name}=...)  # incorrect!\n    {right}  # correct!"
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
    close = difflib.get_close_matches(name, known, n=1, cutoff=_LIKE)
    return close[0] if close else None
