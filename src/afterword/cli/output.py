"""What a command writes: data to stdout, everything else to stderr.

Colours and line widths are rich's: in a terminal only, and only those that can be read on a light
background as well as on a dark one. A pipe gets the same columns, as wide as they need to be.
Text that came from a task is escaped here, so that it can neither move a cursor nor forge a line.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from afterword.telemetry import printable

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(highlight=False, soft_wrap=True, stderr=True)

NOTHING = "-"  # an empty cell: columns can still be counted
_STYLES = {
    "running": "cyan",
    "completed": "green",
    "alive": "green",
    "failed": "red",
    "gone": "red",
    "cancelled": "yellow",
    "retiring": "yellow",
}


def many(number: int, noun: str) -> str:
    """A number of things.

    >>> many(1, "worker"), many(2_000, "worker")
    ('1 worker', '2,000 workers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tell(message: str) -> None:
    """One line for the person who watches."""
    stderr.print(Text(message))


def print_json(text: str) -> None:
    """Data for a program: exactly this text, without colours."""
    stdout.print(Text(text))


def print_document(document: Mapping[str, Any]) -> None:
    """One JSON document, easy on the eye; ASCII only, so that no terminal is harmed."""
    write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_lines(documents: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines, each written when it is known."""
    for document in documents:
        write(json.dumps(document, allow_nan=False) + "\n")


def write(text: str) -> None:
    """Data as it is; without rich, which takes its time for each line."""
    sys.stdout.write(text)


@dataclass(slots=True)
class Grid:
    """A table: headings, and rows of text that is escaped when it is shown.

    Args:
        flexible: headings of the columns that are cut when a terminal is too narrow.
        right: headings of the columns of numbers.
    """

    headings: Sequence[str]
    flexible: Sequence[str] = ()
    right: Sequence[str] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str | None) -> None:
        """Add a row; None is an empty cell."""
        self.rows.append(tuple(printable(cell or NOTHING) for cell in cells))

    def without(self, *headings: str) -> "Grid":
        """The same table with fewer columns."""
        kept = [each not in headings for each in self.headings]
        rows = [tuple(itertools.compress(row, kept)) for row in self.rows]
        left = tuple(itertools.compress(self.headings, kept))
        return Grid(left, self.flexible, self.right, rows)


def show_grid(grid: Grid) -> None:
    """Print a table."""
    if stdout.is_terminal:
        stdout.print(as_table(grid))
    else:
        write("".join(f"{line}\n" for line in _plain(grid)))


def as_table(grid: Grid) -> Table:
    """A table for a terminal: one line per row, cut where it does not fit."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in grid.headings:
        table.add_column(
            Text(heading, no_wrap=True),
            justify="right" if heading in grid.right else "left",
            no_wrap=heading not in grid.flexible,
            overflow="ellipsis",
        )
    for row in grid.rows:
        cells = zip(grid.headings, row, strict=True)
        table.add_row(*(_cell(heading, text) for heading, text in cells))
    return table


def _cell(heading: str, text: str) -> Text:
    style = _STYLES.get(text, "") if heading == "state" else ""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _plain(grid: Grid) -> Iterable[str]:
    lines = [tuple(grid.headings), *grid.rows]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rights = [heading in grid.right for heading in grid.headings]
    for line in lines:
        padded = map(_padded, line, widths, rights)
        yield "  ".join(padded).rstrip()


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space


def show_facts(facts: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and what there is to say of each, one below the other."""
    stdout.print(as_facts(facts))


def as_facts(facts: Iterable[tuple[str, str | Text]]) -> Text:
    """Names in one column, and what there is to say of each; what says nothing is left out."""
    shown = [(name, text) for name, text in facts if text]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [
        Text.assemble((f"{name:<{width}}", "bold"), "  ", said)
        for name, text in shown
        for said in (text if isinstance(text, Text) else printable(text),)
    ]
    return Text("\n").join(lines)


def styled(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STYLES.get(state, ""))
