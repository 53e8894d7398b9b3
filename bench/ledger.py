"""The ledger of started jobs and their times: a small file per worker process, written by jobs.

The body of every measured job is `mark(number)`, in all systems. It writes two numbers into memory
that the benchmark shares, so it costs next to nothing, and the same everywhere. The ledger does not
know when a job has *ended*; the system's own store does.
"""

import mmap
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER = "BENCH_LEDGER"
CAPACITY = 1_000_000  # jobs per process; the file is sparse until they are written
_WORD = 8
_HEADER = 2  # words: the number of jobs, and an unused one
_SIZE = _WORD * (_HEADER + 2 * CAPACITY)

_lock = threading.Lock()
_cells: "memoryview[int] | None" = None


def mark(number: int) -> None:
    """Note that the job with this number starts now."""
    global _cells  # noqa: PLW0603  # one file per process
    with _lock:
        if _cells is None:
            _cells = _open()
        place = _HEADER + 2 * _cells[0]
        _cells[place] = number
        _cells[place + 1] = time.monotonic_ns()
        _cells[0] += 1


def _open() -> "memoryview[int]":
    path = Path(os.environ[FOLDER]) / f"{os.getpid()}.ledger"
    with path.open("wb+") as file:
        file.truncate(_SIZE)
        return memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("q")


def _forget() -> None:
    """Let a forked process open its own file."""
    global _cells, _lock
    _cells, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a job, by the machine's monotonic clock."""

    number: int
    at_nanoseconds: int


class Ledger:
    """A reader of the starts that jobs have marked, usable while they do.

    Args:
        folder: the folder that the processes write to; its name is in their environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[Path, memoryview[int]] = {}

    def count(self) -> int:
        """Count the jobs that have started."""
        return sum(cells[0] for cells in self._cells())

    def starts(self) -> list[list[Start]]:
        """Return the starts in each process, in order."""
        return [_starts(cells) for cells in self._cells() if cells[0]]

    def _cells(self) -> list["memoryview[int]"]:
        for path in self.folder.glob("*.ledger"):
            if path not in self._open and path.stat().st_size == _SIZE:
                with path.open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_READ)
                self._open[path] = memoryview(mapped).cast("q")
        return list(self._open.values())


def _starts(cells: "memoryview[int]") -> list[Start]:
    end = _HEADER + 2 * cells[0]
    words = cells[_HEADER:end].tolist()
    return [Start(*pair) for pair in zip(words[::2], words[1::2], strict=True)]
