"""CPU time and memory of processes and their descendants."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    cpu_ticks: int


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU seconds of these processes and their descendants, including ended ones."""
    stats = _stats()
    return sum(stats[pid].cpu_ticks for pid in _family(roots, stats)) / _TICKS


def resident_bytes(roots: Iterable[int]) -> int:
    """Return the resident memory of these processes and their descendants."""
    return sum(_resident(pid) for pid in _family(roots, _stats()))


def _family(roots: Iterable[int], stats: dict[int, _Stat]) -> set[int]:
    found = {pid for pid in roots if pid in stats}
    waiting = set(stats) - found
    while more := {pid for pid in waiting if stats[pid].parent in found}:
        found |= more
        waiting -= more
    return found


def _stats() -> dict[int, _Stat]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := _stat(folder)):
            found[int(folder.name)] = stat
    return found


def _stat(folder: Path) -> _Stat | None:
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None  # the process has ended
    return _Stat(int(fields[1]), sum(map(int, fields[11:15])))


def _resident(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * _PAGE
