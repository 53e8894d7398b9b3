"""The messages in the pipes between a worker and a child: one JSON object per line.

The worker writes an order:

    {"call": {...}, "handler": "module:function", "levels": {...}}    run this
    {"cancel": true}      the present call should end soon
    {"stop": true}        to a child without a call: end

and the child answers:

    {"ready": pid}        it has started, and would notice its parent's death
    {"sent": {...}}       what the handler sends while it runs
    {"log": {...}}        a log record
    {"value": {...}}      the call has ended
    {"error": "..."}      the call has ended because the handler itself failed
"""

import json
import os
from collections.abc import Iterator
from typing import Any

_CHUNK = 64 * 1024  # bytes; a pipe holds no more


def encode(message: dict[str, Any]) -> bytes:
    """A message as a line.

    Raises:
        TypeError, ValueError, RecursionError: JSON cannot hold it.

    >>> encode({"cancel": True})
    b'{"cancel": true}\\n'
    """
    return json.dumps(message).encode() + b"\n"


def write(descriptor: int, line: bytes) -> None:
    """Write all of a line, of any length."""
    left = memoryview(line)
    while left:
        left = left[os.write(descriptor, left) :]


def read(descriptor: int) -> Iterator[dict[str, Any]]:
    """Read messages until the other side closes the pipe.

    Raises:
        ValueError: something else was written into the pipe.
    """
    begun: list[bytes] = []  # the pieces of a line that has not ended
    while chunk := os.read(descriptor, _CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield json.loads(b"".join([*begun, end]))
            begun.clear()
        begun.append(rest)
