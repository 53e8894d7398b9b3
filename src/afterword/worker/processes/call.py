"""A request on its way through a child process, with its callbacks."""

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
    """The owner of the calls; implemented by `pool.Processes`."""

    def cancel(self, call: "Call") -> None:
        """See `Call.cancel`."""

    def kill(self, call: "Call", reason: str) -> None:
        """See `Call.kill`."""


@dataclass(slots=True, eq=False)
class Call:
    """A call, as `Processes.start` returns it."""

    pool: Pool
    order: bytes
    on_message: OnMessage
    on_end: OnEnd
    child: Child | None = None  # the child that has it, or had it
    cancelled: bool = False
    killed: str | None = None  # the reason

    def cancel(self) -> None:
        """Ask for an early end: `child.cancelled()` is true there from now on."""
        self.pool.cancel(self)

    def kill(self, reason: str) -> None:
        """End it now: `Ending.died` is the reason, unless it has ended already."""
        self.pool.kill(self, reason)

    def pass_on(self, message: dict[str, Any]) -> None:
        """Pass a message of the handler to `on_message`."""
        call_back(self.on_message, message)

    def end(self, ending: Ending) -> None:
        """Pass the ending to `on_end`."""
        call_back(self.on_end, ending)

    def end_elsewhere(self, ending: Ending) -> threading.Thread | None:
        """Call `end` in a thread: the present one may hold a lock that `on_end` needs."""
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
    """Call a callback; its failure must not end the thread that serves a child."""
    try:
        callback(value)
    except Exception as error:
        telemetry.answer_refused(error)
