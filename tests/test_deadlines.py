"""Deadlines: each operation expires at its own time, though there is one timer."""

import asyncio
import gc
import weakref

import pytest

from afterword.deadlines import Deadlines
from afterword.operation import Operation, waking


async def expired_within(seconds: float, *given: float | None) -> list[int]:
    """The numbers of the operations that have expired, in their order; None: it is removed."""
    loop, operations, expired = asyncio.get_running_loop(), [waking() for _ in given], []

    def expire(operation: Operation) -> None:
        expired.append(operations.index(operation))

    deadlines = Deadlines(expire)
    for operation, its in zip(operations, given, strict=True):
        deadlines.add(operation, loop, 0.01 if its is None else its)
    for operation, its in zip(operations, given, strict=True):
        if its is None:
            deadlines.remove(operation, loop)
    await asyncio.sleep(seconds)
    for operation in operations:
        deadlines.remove(operation, loop)
    return expired


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.03, 0.02], [0, 2, 1]),
        ([30.0, 0.01], [1]),
        ([0.01, None, 0.02], [0, 2]),
        ([None], []),
    ],
)
def test_each_expires_at_its_own_time(given: list[float | None], expected: list[int]) -> None:
    assert expected == asyncio.run(expired_within(0.2, *given))


def test_a_loop_in_which_nobody_waits_is_forgotten() -> None:
    deadlines = Deadlines(lambda operation: None)

    async def wait() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loop, operation = asyncio.get_running_loop(), waking()
        deadlines.add(operation, loop, 30.0)
        deadlines.remove(operation, loop)
        return weakref.ref(loop)

    loop = asyncio.run(wait())
    gc.collect()

    assert loop() is None
