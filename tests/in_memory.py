"""Temporary files in memory, if the machine has enough, so that no test waits for a disk."""

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30  # bytes; a whole run needs about a third, containers often give 64 MB


def use_memory() -> None:
    """Keep temporary files in memory, also those of child processes, unless TMPDIR is set."""
    if "TMPDIR" not in os.environ and _is_fit(MEMORY):
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)


def _is_fit(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= ENOUGH and not found.f_flag & os.ST_NOEXEC
