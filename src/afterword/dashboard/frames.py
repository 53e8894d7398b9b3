"""A traceback in parts, so that the frames of the task are open and those of libraries folded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_FRAME = re.compile(r'  File "(?P<file>[^"\n]*)", line \d+')
_LIBRARY = re.compile(r"/site-packages/|/lib/python3|/lib64/python3|<frozen |\\Lib\\|/afterword/")


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a traceback.

    Args:
        folded: True for frames of libraries.
        frames: the number of frames.
    """

    text: str
    folded: bool
    frames: int


def parts(error: str) -> list[Part]:
    """Split a traceback; text without frames is one open part.

    >>> [part.folded for part in parts("ValueError: no")]
    [False]
    """
    pieces = groupby(_pieces(error.splitlines()), key=lambda piece: piece[0])
    found = []
    for folded, group in pieces:
        lines = [line for _, lines in group for line in lines]
        frames = sum(bool(_FRAME.match(line)) for line in lines)
        found.append(Part("\n".join(lines), folded, frames))
    if all(part.folded or not part.frames for part in found):  # nothing of the task's own
        return [Part(part.text, False, part.frames) for part in found]
    return found


def _pieces(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Yield frames with the lines below them, and the other lines; True for a library's frame."""
    piece: list[str] = []
    folded = False
    for line in lines:
        frame = _FRAME.match(line)
        if frame or not line.startswith("    "):
            if piece:
                yield folded, piece
            piece, folded = [], bool(frame and _LIBRARY.search(frame["file"]))
        piece.append(line)
    if piece:
        yield folded, piece
