"""Lists as parameters: PostgreSQL's arrays, written as text.

The driver's own way determines the type of the elements, and took a quarter of the CPU time of the
store's thread. Our statements name the type of each array (`CAST(:ids AS uuid[])`), so the server
knows it. Besides, a statement is prepared only once, because the types of its parameters never
change.
"""

from typing import Any

import psycopg
from psycopg.adapt import Dumper


class ArrayDumper(Dumper):
    """Writes a list as an array; `connection.adapters` has it for `list`."""

    def dump(self, obj: list[Any]) -> bytes:
        """Write a list of texts, numbers, truth values or None."""
        array = f"{{{','.join(map(_element, obj))}}}".encode()
        if b"\0" in array:
            raise psycopg.DataError("PostgreSQL text cannot hold the character NUL (0x00)")
        return array


def _element(value: object) -> str:
    """Write an element.

    >>> _element(None), _element(True), _element(1.5), _element('say "a\\\\b"')
    ('NULL', 'True', '1.5', '"say \\\\"a\\\\\\\\b\\\\""')
    """
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    if '"' in value or "\\" in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
