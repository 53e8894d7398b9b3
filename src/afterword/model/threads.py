"""The worker's own threads, for `def` tasks; and where a thread must not be blocked.

Never the 40 threads that serve `def` endpoints. A thread takes one call after the other from the
queue, without a hop back to the event loop in between; it is started when a call finds none idle.
"""

import asyncio
import queue
import threading
from collections.abc import Callable

from afterword.errors import WouldBlock


def refuse_event_loop(wrong: str, right: str) -> None:
    """Refuse a call that blocks its thread where an event loop runs in it.

    Args:
        wrong: the call, as it is written.
        right: the line to write instead.

    Raises:
        WouldBlock: an event loop runs in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldBlock(
        f"{wrong} blocks its thread until the store has answered, but an event loop runs in this"
        " one, and nothing in it could go on meanwhile.\n"
        f"    {wrong}  # incorrect!\n"
        f"    {right}  # correct!"
    )


class Threads:
    """At most `size` threads; daemons, so a call that never returns cannot keep the process."""

    def __init__(self, size: int, name: str = "afterword-task") -> None:
        self._size = size
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = threading.Semaphore(0)
        self._most_replaced = size
        self._replaced = 0
        self._left = threading.local()

    def submit(self, call: Callable[[], None]) -> None:
        """Run a call, which must not raise, in one of the threads. Used by one thread only."""
        self._calls.put(call)
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._start()

    def _start(self) -> None:
        name = f"{self._name}-{self._threads + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system has none left: the call waits for a thread of ours
            return
        self._threads += 1

    def replace_one(self) -> bool:
        """A call does not end: let another thread take the place of its own.

        Returns:
            False if as many calls as there are threads do not end already.
        """
        if self._replaced >= self._most_replaced:
            return False
        self._replaced += 1
        self._size += 1
        return True

    def keep_one(self) -> None:
        """The call has ended after all: no thread is to be replaced."""
        self._replaced -= 1
        self._size -= 1

    def leave(self) -> None:
        """In a thread that has been replaced: end with the present call."""
        self._left.now = True

    def stop(self) -> None:
        """Let each thread end after its present call."""
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0

    def _run(self) -> None:
        while call := self._next():
            call()
            if getattr(self._left, "now", False):
                self._replaced -= 1
                self._size -= 1
                self._threads -= 1
                return

    def _next(self) -> Callable[[], None] | None:
        """The next call; only a thread that has to wait for one counts as idle."""
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._calls.get()
