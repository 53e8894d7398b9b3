"""Output of commands: data to stdout, everything else to stderr.

Colours and line widths come from rich: only in a terminal, and only colours that are readable on
light and dark backgrounds. A pipe gets the same columns, as wide as necessary. Text that came from
a task is escaped here, so that it can neither move a cursor nor forge a line.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from afterword.telemetry import printable

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(highlight=False, soft_wrap=True, stderr=True)

_NAMED = ("task", "schedule")  # headings of the columns of names with a module
_SHORTEST_NAME = 12  # characters of a task that are shown, however narrow the terminal is
_GAP = 2  # spaces between columns
NOTHING = "-"  # an empty cell, so that columns can be counted
_STYLES = {
    "running": "cyan",
    "completed": "green",
    "handed_over": "blue",
    "alive": "green",
    "failed": "red",
    "gone": "red",
    "cancelled": "yellow",
    "retiring": "yellow",
}


def tell(message: str) -> None:
    """Print a line for the user, to stderr."""
    stderr.print(Text(message))


def print_json(text: str) -> None:
    """Print data for a program: exactly this text, without colours."""
    stdout.print(Text(text))


def print_document(document: Mapping[str, Any]) -> None:
    """Print one indented JSON document; ASCII only, which is safe for every terminal."""
    write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_lines(documents: Iterable[Mapping[str, Any]]) -> None:
    """Print JSON lines, each as soon as it is known."""
    for document in documents:
        write(json.dumps(document, allow_nan=False) + "\n")


def write(text: str) -> None:
    """Write data unchanged; without rich, which is slow for many lines."""
    sys.stdout.write(text)


@dataclass(slots=True)
class Grid:
    """A table: headings, and rows of escaped text.

    Args:
        flexible: headings of the columns that are cut if a terminal is too narrow.
        right: headings of the columns of numbers.
        spare: headings of the columns that are left out, in this order, if a terminal is so narrow
            that too little would be left of the flexible ones.
    """

    headings: Sequence[str]
    flexible: Sequence[str] = ()
    right: Sequence[str] = ()
    spare: Sequence[str] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str | None) -> None:
        """Add a row; None makes an empty cell."""
        self.rows.append(tuple(printable(cell or NOTHING) for cell in cells))

    def without(self, *headings: str) -> "Grid":
        """Return the same table without these columns."""
        kept = [each not in headings for each in self.headings]
        rows = [tuple(itertools.compress(row, kept)) for row in self.rows]
        left = tuple(itertools.compress(self.headings, kept))
        return Grid(left, self.flexible, self.right, self.spare, rows)

    def fitted(self, width: int) -> "Grid":
        """Return the same table without the spare columns for which a terminal has no place."""
        grid = self
        for heading in self.spare:
            if grid.fits(width):
                break
            grid = grid.without(heading)
        return grid

    def fits(self, width: int) -> bool:
        """Return True if a terminal of this width can show every column."""
        columns = zip(self.headings, zip(self.headings, *self.rows, strict=True), strict=True)
        least = [self._least_of(heading, cells) for heading, cells in columns]
        return sum(least) + _GAP * (len(least) - 1) <= width

    def _least_of(self, heading: str, cells: Sequence[str]) -> int:
        widest = max(map(cell_len, cells))
        if heading not in self.flexible:
            return widest
        if heading in _NAMED:
            cells = [_function(name) for name in cells]
            return min(widest, max(_SHORTEST_NAME, *(1 + cell_len(each) for each in cells)))
        return min(widest, _SHORTEST_NAME)


def show_grid(grid: Grid) -> None:
    """Print a table."""
    if stdout.is_terminal:
        stdout.print(as_table(grid))
    else:
        write("".join(f"{line}\n" for line in _plain(grid)))


def as_table(grid: Grid) -> Table:
    """Convert a table for a terminal: one line per row, cut where it does not fit."""
    grid = grid.fitted(stdout.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
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


def _cell(heading: str, text: str) -> "Text | _TaskName":
    if heading in _NAMED:
        return _TaskName(text)
    style = _STYLES.get(text, "") if heading == "state" else ""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


class _TaskName:
    """The name of a task or a schedule, of which the module is cut, and not the function."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        shortest = min(cell_len(self._name), _SHORTEST_NAME)
        return Measurement(shortest, cell_len(self._name)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(fitted(self._name, options.max_width), no_wrap=True, overflow="ellipsis")


def fitted(name: str, width: int) -> str:
    """Cut the module of the name of a task or a schedule, so that the function can be read.

    >>> fitted("shop.orders.mail:send_receipt", 20), fitted("mail:send", 20)
    ('…s.mail:send_receipt', 'mail:send')
    >>> fitted("shop.orders.mail.send_receipts", 20), fitted("shop.orders.mail.sweep", 5)
    ('….mail.send_receipts', 'sweep')
    """
    function = _function(name)
    if cell_len(name) <= width:
        return name
    return f"…{name[1 - width :]}" if len(function) < width else function


def _function(name: str) -> str:
    return name.rpartition(":" if ":" in name else ".")[2]


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
    """Print names with their values, one below the other."""
    stdout.print(as_facts(facts))


def as_facts(facts: Iterable[tuple[str, str | Text]]) -> Text:
    """Format names and values in two columns; empty values are left out."""
    shown = [(name, text) for name, text in facts if text]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [
        Text.assemble((f"{name:<{width}}", "bold"), "  ", value)
        for name, text in shown
        for value in (text if isinstance(text, Text) else printable(text),)
    ]
    return Text("\n").join(lines)


def styled(state: str) -> Text:
    """Colour a state."""
    return Text(state, style=_STYLES.get(state, ""))
