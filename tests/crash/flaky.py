"""A disk that fails now and then: a layer between SQLite (apsw's) and the operating system."""

import os
import random
from typing import Any

import apsw

BASE = "unix"  # SQLite's own layer
dice = random.Random(os.getpid())


class FlakyFile(apsw.VFSFile):
    """A file of which some writes and some syncs fail."""

    def __init__(self, name: Any, flags: Any, share: float) -> None:
        super().__init__(BASE, name, flags)
        self._share = share

    def _fail_now_and_then(self) -> None:
        if dice.random() < self._share:
            raise apsw.IOError("the disk fails, as it was told to")

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, or fail."""
        self._fail_now_and_then()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, or fail."""
        self._fail_now_and_then()
        super().xSync(flags)


class FlakyDisk(apsw.VFS):
    """Opens every file as one that fails."""

    def __init__(self, share: float) -> None:
        self._share = share
        super().__init__("flaky", BASE, makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> FlakyFile:  # noqa: N802 - SQLite's name
        """Open a file."""
        return FlakyFile(name, flags, self._share)


installed: list[FlakyDisk] = []  # it must live as long as SQLite uses it


def install(share: float) -> None:
    """From now on this share of all writes and syncs of SQLite fail, in this process."""
    installed.append(FlakyDisk(share))
