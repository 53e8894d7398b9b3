"""Parsers of options. Their messages have the rule and the value, which typer's lack."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import typer

T = TypeVar("T", bound=str)
Typed = str | int | float  # a default goes through its parser as well, and is no text


def whole(name: str, least: float = -math.inf, most: float = math.inf) -> Callable[[Typed], int]:
    """Make a parser of whole numbers; `name` is the option's value in its help."""
    limits = "" if most == math.inf else f" from {least:,} to {most:,}"

    def parsed(text: Typed) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise typer.BadParameter(f"{name} must be a whole number{limits}, but it is {text!r}.")
        return value

    return parsed


def seconds(least: float = 0, most: float = math.inf) -> Callable[[Typed], float]:
    """Make a parser of seconds."""
    limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:,g}"

    def parsed(text: Typed) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            raise typer.BadParameter(f"SECONDS must be a number, {limits}, but it is {text!r}.")
        return value

    return parsed


def one_of(name: str, choices: Iterable[T]) -> Callable[[str], T]:
    """Make a parser of a closed set of words."""
    known = {str(each): each for each in choices}

    def parsed(text: str) -> T:
        if text not in known:
            raise typer.BadParameter(
                f"{name} must be one of {', '.join(known)}, but it is {text!r}."
            )
        return known[text]

    return parsed
