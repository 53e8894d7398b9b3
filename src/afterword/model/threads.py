"""The worker's own threads for `def` tasks, and the refusal of calls that block an event loop.

Tasks never use the 40 threads that serve `def` endpoints. A thread takes one call after the other
from a queue, without a hop to the event loop in between. A new thread is started when a call finds
none idle.
"""

import asyncio
import queue
import threading
from collections.abc import Callable

from afterword.errors import WouldBlock


def refuse_event_loop(wrong: str, right: str) -> None:
    """Refuse a blocking call in a thread that runs an event loop.

    Args:
        wrong: the call, as the user wrote it.
        right: the line to write instead.

    Raises:
        WouldBlock: an event loop runs in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldBlock(
        f"{wrong} blocks its thread until the store has answered, but this thread runs an event"
        " loop, which would be blocked meanwhile.\n"
        f"    {wrong}  # incorrect!\n"
        f"    {right}  # correct!"
    )


class Threads:
    """A pool of at most `size` daemon threads: a hanging call cannot keep the process alive."""

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
        """Run a call in one of the threads; it must not raise. Only one thread may submit."""
        self._calls.put(call)
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._start()

    def _start(self) -> None:
        name = f"{self._name}-{self._threads + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads: the call waits for one of ours
            return
        self._threads += 1

    def replace_one(self) -> bool:
        """Allow one more thread, in place of one whose call does not end.

        Returns:
            False if as many threads as the pool may have are replaced already.
        """
        if self._replaced >= self._most_replaced:
            return False
        self._replaced += 1
        self._size += 1
        return True

    def keep_one(self) -> None:
        """Undo `replace_one`: the call has ended after all."""
        self._replaced -= 1
        self._size -= 1

    def leave(self) -> None:
        """End the current thread after its present call, because it has been replaced."""
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
        """Take the next call; a thread counts as idle only while it waits for one."""
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._calls.get()
