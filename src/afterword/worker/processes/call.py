"""A request on its way through a child process, and whom to tell of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from afterword import telemetry
from afterword.worker.processes.ending import Ending
from afterword.worker.processes.process import Child

OnMessage = Callable[[dict[str, Any]], None]
OnEnd = Callable[[Ending], None]


class Pool(Protocol):
    """Who knows where a call is: `pool.Processes`."""

    def cancel(self, call: "Call") -> None:
        """See `Call.cancel`."""

    def kill(self, call: "Call", reason: str) -> None:
        """See `Call.kill`."""


@dataclass(slots=True, eq=False)
class Call:
    """What `Processes.start` returns."""

    pool: Pool
    order: bytes
    on_message: OnMessage
    on_end: OnEnd
    child: Child | None = None  # who has it, or had it
    cancelled: bool = False
    killed: str | None = None  # why

    def cancel(self) -> None:
        """Ask for an early end: `child.cancelled()` is true there from now on."""
        self.pool.cancel(self)

    def kill(self, reason: str) -> None:
        """End it now: `Ending.died` is the reason, unless it has ended already."""
        self.pool.kill(self, reason)

    def pass_on(self, message: dict[str, Any]) -> None:
        """Tell what the handler sends."""
        call_back(self.on_message, message)

    def end(self, ending: Ending) -> None:
        """Tell how it has ended."""
        call_back(self.on_end, ending)

    def end_elsewhere(self, ending: Ending) -> threading.Thread | None:
        """Tell it in a thread: who has caused the end may hold a lock that is needed for it."""
        thread = threading.Thread(
            target=self.end, args=(ending,), name="afterword-ending", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has none left
            self.end(ending)
            return None
        return thread


def call_back(callback: Callable[[Any], None], value: object) -> None:
    """Call somebody, whose failure must not end the thread that serves a child."""
    try:
        callback(value)
    except Exception as error:
        telemetry.answer_refused(error)
