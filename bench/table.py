"""The tables of contests: a row for each system, with the ratio of our figure to its own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from bench.catalogue import Contestant
from bench.contest import Key, Standing
from bench.result import Result
from bench.stores import Stores
from bench.targets import Target, lines
from bench.trial import trial

T = TypeVar("T")

_OURS = (
    " \"Ours is\": how many times the peer's figure Afterword's is, with the same kind of function,"
    " measured in turns."
)


def competition(
    standing: Standing[T],
    stores: Stores,
    *,
    name: str,
    title: str,
    header: Sequence[str],
    row: Callable[[Standing[T], Contestant], list[str]],
    notes: str,
    targets: Sequence[Target[T]] = (),
) -> Result:
    """Make the result of a contest; `row` makes the cells of each row."""
    present = [each for each, figures in standing.figures.items() if figures]
    described = {each: _describe(each, stores) for each in present}
    return Result(
        name=name,
        title=title,
        header=["", *header],
        rows=[[each.title, *row(standing, each)] for each in present],
        notes="\n\n".join(
            [
                f"{notes}{_OURS * ('ours is' in header)}",
                *([lines(standing, targets)] if targets else []),
                "\n".join(_configurations(described)),
            ]
        ),
        data={each.title: _data(standing, each) for each in present},
        versions=[*_versions(described), *stores.versions()],
    )


def number(value: float | None, digits: int = 0) -> str:
    """Format a figure for a cell."""
    return "" if value is None else f"{value:,.{digits}f}"


def advantage(standing: Standing[T], contestant: Contestant, key: Key[T], digits: int = 1) -> str:
    """Format the ratio of our figure to a peer's; for each of our stores if there are two."""
    found = standing.advantages(contestant, key)
    if len(found) > 1:
        return ", ".join(f"{ratio:.{digits}f} × ({rival.kind})" for rival, ratio in found.items())
    return "".join(f"{ratio:.{digits}f} ×" for ratio in found.values())


def _describe(contestant: Contestant, stores: Stores) -> dict[str, Any]:
    with trial(contestant, stores) as run:
        return run.ask("describe", *contestant.packages)


def _configurations(described: dict[Contestant, dict[str, Any]]) -> list[str]:
    return [f"- {each.title}: {said['configuration']}" for each, said in described.items()]


def _versions(described: dict[Contestant, dict[str, Any]]) -> list[str]:
    found = {
        f"{name} {version}"
        for each, said in described.items()
        if not each.ours
        for name, version in said["versions"].items()
    }
    return sorted(found)


def _data(standing: Standing[T], contestant: Contestant) -> dict[str, Any]:
    figures: Sequence[Any] = standing.figures[contestant]
    return {"store": contestant.kind, "rounds": [asdict(each) for each in figures]}
