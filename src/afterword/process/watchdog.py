"""Ends a worker process whose store thread hangs, so that its supervisor starts another one.

Nothing else would: such a process holds no jobs any more, because its lease has run out, but it
takes none either, and looks alive from outside. A store that is away is no reason, because its
calls have time limits and the thread comes by between them; an event loop that user code blocks is
none either, because the lease is renewed without it.
"""

import os
import threading
from collections.abc import Callable

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Watchdog:
    """A thread that looks at a pulse.

    Args:
        pulse: a number that changes for as long as the watched thread is well.
        silent_for: seconds without a change after which `bark` is called.
        bark: told once what is wrong; by default it ends the process.
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
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more: what is being shut down has no pulse."""
        self._stopped.set()

    def _run(self) -> None:
        # Looks are counted, not seconds: a process that was stopped and goes on (SIGSTOP, a
        # suspended machine, a long hold of the GIL) finds its watchdog as late as everyone else.
        seen, looks = self._pulse(), 0
        while not self._stopped.wait(self._interval):
            pulse = self._pulse()
            seen, looks = (seen, looks + 1) if pulse == seen else (pulse, 0)
            if looks * self._interval >= self._silent_for:
                self._bark(f"The store's thread has been silent for {self._silent_for:g} s.")
                return


def end_process() -> None:
    """Leave at once: whoever hangs would keep an orderly exit waiting."""
    os._exit(EXIT_CODE)
