"""Checks of option values; each error names the rule and the value.

Raises:
    ConfigurationError: every check here raises it, `is_number` excepted.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from afterword.errors import ConfigurationError, safe_repr

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_queue(name: object) -> None:
    """Refuse a queue name that a shell, a URL or a comma-separated list would split."""
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        raise ConfigurationError(
            "A queue's name must be 1 to 64 letters, digits or any of '_.-', but this one is"
            f' {safe_repr(name)}. Example: @task(queue="mail").'
        )


def checked_tags(tags: object) -> tuple[str, ...]:
    """Return the tags without duplicates; there may be at most 20."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or len(tags) > 20:
        raise ConfigurationError(
            f"tags must be a list of at most 20 words, but it is {safe_repr(tags)}."
            ' Example: tags=["import", "customer:42"].'
        )
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= 100 or not tag.isprintable():
            raise ConfigurationError(
                "A tag must be printable text of 1 to 100 characters, but this one is"
                f" {safe_repr(tag)}."
            )
    return tuple(dict.fromkeys(tags))


def checked_rate(rate: object) -> tuple[int, float]:
    """Parse a rate such as "100/m" into a count and a period in seconds.

    >>> checked_rate("100/m"), checked_rate("5/10s")
    ((100, 60.0), (5, 10.0))
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{0,6})([smhd])", rate) if isinstance(rate, str) else None
    count, period = (int(match[1]), int(match[2] or 1)) if match else (0, 0)
    if match is None or not 1 <= count <= MOST_STARTS or period == 0:
        raise ConfigurationError(
            'A rate must be text such as "10/s", "100/m", "5/10s", "1000/h" or "50/d", with a count'
            f" from 1 to {MOST_STARTS:,}, but this one is {safe_repr(rate)}."
            ' For a larger count use a shorter period: "100/s" instead of "6000/m".'
        )
    return count, float(period * _UNITS[match[3]])


MOST_STARTS = 1_000  # the store keeps the time of each of them
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


def queue_limits(queues: object) -> Mapping[str, int | None]:
    """Return the limits of concurrently running jobs by queue, as in {"mail": 5}."""
    if not isinstance(queues, Mapping):
        return {}
    for name, most in queues.items():
        if most is not None:
            check_number(f"queues[{name!r}]", most, 1, 10_000, whole=True)
    return dict(queues)


def checked_queues(queues: object) -> tuple[str, ...]:
    """Return the names of the queues: at least one, none twice."""
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
    """Refuse a value that is not one of these choices."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {list(choices)}, but it is {value!r}.")


def check_flag(name: str, value: object) -> None:
    """Refuse anything but True and False, including other truthy and falsy values."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, but it is {value!r}.")


def check_callable(name: str, value: object) -> None:
    """Refuse a value that is neither a function nor None."""
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name} must be a function of one text, but it is {value!r}.")


def check_number(
    name: str,
    value: object,
    least: float,
    most: float,
    *,
    whole: bool = False,
    kind: str = "a number of seconds",
    example: str = "",
) -> None:
    """Refuse a value that is no number from `least` to `most`.

    Args:
        name: the option, for the message.
        whole: require an `int`.
        kind: the words for such a number in the message, unless it is `whole`.
        example: a correct setting, for the message.
    """
    if not is_number(value) or (whole and isinstance(value, float)) or not least <= value <= most:
        shown = f" Example: {example}." if example else ""
        raise ConfigurationError(
            f"{name} must be {'a whole number' if whole else kind} from {least:g} to {most:.12g},"
            f" but it is {safe_repr(value)}.{shown}"
        )


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for a finite int or float; a bool is no number.

    >>> is_number(1.5), is_number(True), is_number(float("nan")), is_number(10**400)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the range of floats
        return False
