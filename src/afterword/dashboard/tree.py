"""JSON as a tree of nodes, for arguments and results.

Numbers are kept as they are written: big integers and long fractions would lose digits in a
browser, and in floating point.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_NODES = 500  # nodes that are shown
_DEPTH = 20
_TEXT = 2_000  # characters of one text


class Number(str):
    """A number as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a tree.

    Args:
        name: the key or the index; None at the root.
        kind: object, array, text, number, literal (true, false, null), or "more" (left out).
        text: the value, if it has no children.
        children: those of an object or an array.
    """

    name: str | None
    kind: str
    text: str = ""
    children: tuple["Node", ...] = ()


def tree(text: str | None) -> Node | None:
    """Parse JSON as a tree; text that is not JSON becomes one node; None if there is none."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number)
        return _Tree().node(None, value, 0)
    except (ValueError, RecursionError):
        return Node(None, "text", _cut(text))


class _Tree:
    """Makes nodes, up to a limit."""

    def __init__(self) -> None:
        self._left = _NODES

    def node(self, name: str | None, value: Any, depth: int) -> Node:
        self._left -= 1
        if isinstance(value, dict):
            return Node(name, "object", f"{len(value):,}", self._children(value.items(), depth))
        if isinstance(value, list):
            items = ((str(index), each) for index, each in enumerate(value))
            return Node(name, "array", f"{len(value):,}", self._children(items, depth))
        if isinstance(value, Number):
            return Node(name, "number", _cut(value))
        if isinstance(value, str):
            return Node(name, "text", _cut(value))
        return Node(name, "literal", json.dumps(value))

    def _children(self, items: Any, depth: int) -> tuple[Node, ...]:
        return tuple(self._some(iter(items), depth))

    def _some(self, items: Iterator[tuple[str, Any]], depth: int) -> Iterator[Node]:
        for name, value in items:
            if self._left <= 0 or depth >= _DEPTH:
                yield Node(None, "more")
                return
            yield self.node(name, value, depth + 1)


def _cut(text: str) -> str:
    if len(text) <= _TEXT:
        return text
    return f"{text[:_TEXT]}… ({len(text):,} characters)"
