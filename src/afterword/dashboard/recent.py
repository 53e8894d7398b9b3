"""A cache of slow answers: many open pages make the same queries."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LONG = 0.1  # seconds: a quicker answer is not kept
TIMES = 20  # as long as this many times the seconds that it took, an answer is given again


class Recent:
    """Keeps the last answer to each query.

    Args:
        monotonic: the clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}  # until when, and the answer

    def get(self, question: str, ask: Callable[[], T]) -> T:
        """Return the cached answer, or make the query; others wait for its answer meanwhile."""
        with self._lock:
            until, answer = self._kept.get(question, (0.0, None))
            if self._monotonic() < until:
                kept: T = answer
                return kept
            began = self._monotonic()
            fresh = ask()
            took = self._monotonic() - began
            if took > LONG:
                self._kept[question] = (began + took * TIMES, fresh)
            return fresh
