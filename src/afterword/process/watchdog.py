"""The watchdog: ends a worker process whose store thread hangs, so that it is restarted.

Such a process looks alive from outside. It has lost its jobs, because its lease has expired, and it
claims no new ones. An unreachable store does not trigger the watchdog, because store calls have
time limits, between which the thread counts. Neither does user code that blocks the event loop,
because the lease is renewed without it.
"""

import os
import threading
from collections.abc import Callable

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Watchdog:
    """A thread that watches a counter.

    Args:
        pulse: returns a number that changes while the watched thread works.
        silent_for: seconds without a change after which `bark` is called.
        bark: called once, with a message.
    """

    def __init__(
        self, pulse: Callable[[], int], silent_for: float, bark: Callable[[str], object]
    ) -> None:
        self._pulse = pulse
        self._silent_for = silent_for
        self._interval = min(1.0, silent_for / 5)
        self._bark = bark
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="afterword-watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, before a shutdown, in which the counter does not change."""
        self._stopped.set()

    def _run(self) -> None:
        # It counts looks, not seconds: if the whole process was stopped (SIGSTOP, a suspended
        # machine, a long hold of the GIL), the watchdog was stopped just as long.
        seen, looks = self._pulse(), 0
        while not self._stopped.wait(self._interval):
            pulse = self._pulse()
            seen, looks = (seen, looks + 1) if pulse == seen else (pulse, 0)
            if looks * self._interval >= self._silent_for:
                self._bark(f"The store's thread has been silent for {self._silent_for:g} s.")
                return


def end_process() -> None:
    """Exit at once, because the hanging thread would block an orderly exit."""
    os._exit(EXIT_CODE)
