"""What the options of `Afterword(...)` can be; each mistake names the rule and the value.

Raises:
    ConfigurationError: all of these do.
"""

from collections.abc import Sequence

from afterword.errors import ConfigurationError
from afterword.task import check_queue


def checked_queues(queues: object) -> tuple[str, ...]:
    """The names of queues: at least one, each once."""
    if isinstance(queues, str) or not isinstance(queues, Sequence) or not queues:
        raise ConfigurationError(
            f"queues must be a list of at least one name, but it is {queues!r}."
            ' Example: queues=["default", "mail"].'
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
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:  # type: ignore[operator]
        kind = "a whole number" if whole else "a number of seconds"
        raise ConfigurationError(
            f"{name} must be {kind} from {least:g} to {most:g}, but it is {value!r}."
        )
