"""The ledger: a file outside of the store, in which every task leaves a line."""

import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "AFTERWORD_DEMO_LEDGER"  # the environment variable with the path

Line = tuple[str, int]  # task and order


def write_line(task: str, order: int) -> None:
    """Append a line in one write, so that it is there completely or not at all."""
    with Path(os.environ[VARIABLE]).open("ab", buffering=0) as ledger:
        ledger.write(f"{task} {order} {os.getpid()}\n".encode())


def read_lines(ledger: Path) -> Iterator[Line]:
    """Yield the lines in order; a task that ran twice has two."""
    for line in ledger.read_text().splitlines():
        task, order, _ = line.split(" ")
        yield task, int(order)
