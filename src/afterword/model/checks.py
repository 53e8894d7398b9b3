"""What the options of `Afterword(...)` can be; each mistake names the rule and the value.

Raises:
    ConfigurationError: all of these do.
"""

import math
import re
from collections.abc import Mapping, Sequence

from afterword.errors import ConfigurationError, safe_repr

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_queue(name: object) -> None:
    """Refuse a name that cannot be a queue's: what a shell, a URL or a list would take apart."""
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        raise ConfigurationError(
            "A queue's name is 1 to 64 letters, digits and any of '_.-', but this one is"
            f' {safe_repr(name)}. Example: @task(queue="mail").'
        )


def checked_tags(tags: object) -> tuple[str, ...]:
    """Words to find jobs by: at most 20, each once."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or len(tags) > 20:
        raise ConfigurationError(
            f"tags must be a list of at most 20 words, but it is {safe_repr(tags)}."
            ' Example: tags=["import", "customer:42"].'
        )
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= 100 or not tag.isprintable():
            raise ConfigurationError(
                f"A tag is printable text of 1 to 100 characters, but this one is {safe_repr(tag)}."
            )
    return tuple(dict.fromkeys(tags))


def checked_rate(rate: object) -> tuple[int, float]:
    """How many in how many seconds, from text such as "100/m".

    >>> checked_rate("100/m"), checked_rate("5/10s")
    ((100, 60.0), (5, 10.0))
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{0,6})([smhd])", rate) if isinstance(rate, str) else None
    count, period = (int(match[1]), int(match[2] or 1)) if match else (0, 0)
    if match is None or not 1 <= count <= MOST_STARTS or period == 0:
        raise ConfigurationError(
            'A rate is text such as "10/s", "100/m", "5/10s", "1000/h" or "50/d", with a count from'
            f" 1 to {MOST_STARTS:,}, but this one is {safe_repr(rate)}."
            ' More in less: "100/s" instead of "6000/m".'
        )
    return count, float(period * _UNITS[match[3]])


MOST_STARTS = 1_000  # the store remembers when each of them was
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


def queue_limits(queues: object) -> Mapping[str, int | None]:
    """The queues that have a number of jobs that may run at the same time: {"mail": 5}."""
    if not isinstance(queues, Mapping):
        return {}
    for name, most in queues.items():
        if most is not None:
            check_number(f"queues[{name!r}]", most, 1, 10_000, whole=True)
    return dict(queues)


def checked_queues(queues: object) -> tuple[str, ...]:
    """The names of queues: at least one, each once."""
    if isinstance(queues, Mapping):
        queues = tuple(queues)
    if isinstance(queues, str) or not isinstance(queues, Sequence) or not queues:
        raise ConfigurationError(
            f"queues must be a list of at least one name, but it is {queues!r}."
            ' Example: queues=["default", "mail"]; with limits queues={"default": None, "mail": 5}.'
        )
    for name in queues:
        check_queue(name)
    if len(set(queues)) < len(queues):
        raise ConfigurationError(f"queues must name each queue once, but it is {queues!r}.")
    return tuple(queues)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """One of these texts."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {list(choices)}, but it is {value!r}.")


def check_flag(name: str, value: object) -> None:
    """True or False, and nothing that is only taken for it."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, but it is {value!r}.")


def check_callable(name: str, value: object) -> None:
    """A function, or None."""
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name} must be a function of one text, but it is {value!r}.")


def check_number(
    name: str, value: object, least: float, most: float, *, whole: bool = False
) -> None:
    """A number within these limits, in seconds unless it is `whole`."""
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    wrong = isinstance(value, bool) or not isinstance(value, kinds) or math.isnan(value)  # type: ignore[arg-type]
    if wrong or not least <= value <= most:  # type: ignore[operator]
        kind = "a whole number" if whole else "a number of seconds"
        raise ConfigurationError(
            f"{name} must be {kind} from {least:g} to {most:g}, but it is {value!r}."
        )
