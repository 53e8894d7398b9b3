"""Contests: each peer is measured in turns with Afterword, A B A B, within one run.

Noise on the machine disturbs both sides of a pair, so the result is the median, over all rounds, of
the ratios within pairs.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

from bench.catalogue import OURS, Contestant, rivals
from bench.trial import TrialFailed

T = TypeVar("T")
Key = Callable[[T], float | None]


@dataclass(frozen=True, slots=True)
class Pair(Generic[T]):
    """One measurement of a peer, and the one of ours that was taken just before."""

    rival: Contestant
    peer: Contestant
    ours: T
    theirs: T


@dataclass(frozen=True, slots=True)
class Standing(Generic[T]):
    """All measurements so far."""

    figures: dict[Contestant, list[T]] = field(default_factory=dict)
    pairs: list[Pair[T]] = field(default_factory=list)
    failed: dict[Contestant, str] = field(default_factory=dict)

    def median(self, contestant: Contestant, key: Key[T]) -> float | None:
        """Return the median of a figure; None if it was not measured."""
        found = [value for each in self.figures[contestant] if (value := key(each)) is not None]
        return median(found) if found else None

    def advantages(self, peer: Contestant, key: Key[T]) -> dict[Contestant, float]:
        """Return the ratio of our figure to a peer's, for each of our stores."""
        found: dict[Contestant, list[float]] = {}
        for pair in self.pairs:
            ours, theirs = key(pair.ours), key(pair.theirs)
            if pair.peer == peer and ours is not None and theirs:
                found.setdefault(pair.rival, []).append(ours / theirs)
        return {rival: median(ratios) for rival, ratios in found.items()}


def compete(
    peers: Sequence[Contestant], rounds: int, measure: Callable[[Contestant], T]
) -> Standing[T]:
    """Measure every peer in turns with its rivals; without peers, ours in turns.

    A system that fails is reported and left out from then on.
    """
    standing: Standing[T] = Standing({each: [] for each in [*OURS, *peers]})
    for number in range(1, rounds + 1):
        for peer in peers:
            _meet(standing, peer, number, measure)
        for ours in OURS:
            if not peers:
                _measure(standing, ours, number, measure)
    return standing


def in_turns(
    contestants: Sequence[Contestant], rounds: int, measure: Callable[[Contestant], T]
) -> Standing[T]:
    """Measure each once a round, without ratios."""
    standing: Standing[T] = Standing({each: [] for each in contestants})
    for number in range(1, rounds + 1):
        for contestant in contestants:
            _measure(standing, contestant, number, measure)
    return standing


def _meet(
    standing: Standing[T], peer: Contestant, number: int, measure: Callable[[Contestant], T]
) -> None:
    if peer in standing.failed:
        return
    ours = {rival: _measure(standing, rival, number, measure) for rival in rivals(peer)}
    theirs = _measure(standing, peer, number, measure)
    for rival, our in ours.items():
        if our is not None and theirs is not None:
            standing.pairs.append(Pair(rival, peer, our, theirs))


def _measure(
    standing: Standing[T],
    contestant: Contestant,
    number: int,
    measure: Callable[[Contestant], T],
) -> T | None:
    if contestant in standing.failed:
        return None
    try:
        figure = measure(contestant)
    except TrialFailed as error:
        print(f"left out: {error}", file=sys.stderr)
        standing.failed[contestant] = str(error)
        return None
    standing.figures[contestant].append(figure)
    print(f"round {number}: {contestant.title}: {figure}", file=sys.stderr)
    return figure
