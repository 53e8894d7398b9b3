"""Targets for figures, set before they were measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

from bench.catalogue import OURS, PEERS
from bench.contest import Key, Standing

T = TypeVar("T")
Measured = Callable[[Standing[T]], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Generic[T]):
    """A target for a figure of ours.

    Args:
        text: the figure and its target, in words.
        measured: finds the figure; returns None if it was not measured.
        least, most: the smallest and the largest figure that meets the target.
    """

    text: str
    measured: Measured[T]
    least: float = float("-inf")
    most: float = float("inf")

    def line(self, standing: Standing[T]) -> str:
        """Return the line of this target below the table."""
        figure = self.measured(standing)
        if figure is None:
            return f"- {self.text}: not measured"
        met = "met" if self.least <= figure <= self.most else "**not met**"
        return f"- {self.text}: {figure:.2f}, {met}"


def lines(standing: Standing[T], targets: Sequence[Target[T]]) -> str:
    """Return the lines of all targets of a table, each with its figure."""
    return "\n".join(["Targets:", "", *(each.line(standing) for each in targets)])


def times(peer: str, key: Key[T]) -> Measured[T]:
    """Find the ratio of our figure to that of a peer, by its name on the command line."""
    (contestant,) = (each for each in PEERS if each.name == peer)

    def measured(standing: Standing[T]) -> float | None:
        if contestant not in standing.figures:
            return None
        return next(iter(standing.advantages(contestant, key).values()), None)

    return measured


def own(name: str, key: Key[T]) -> Measured[T]:
    """Find the median of a figure of ours, by its name on the command line."""
    (contestant,) = (each for each in OURS if each.name == name)

    def measured(standing: Standing[T]) -> float | None:
        values = [value for each in standing.figures.get(contestant, ()) if (value := key(each))]
        return median(values) if values else None

    return measured
