"""The pool of child processes: it gives calls to them, and reuses them.

A call goes to the child that was busy last, or to a new one; when there are as many as may be, it
waits for its turn. A child leaves the pool when it dies, when it is killed, when its handler has
failed (its state is unknown), and when it has been idle for a while. Then the next
waiting call gets a new one: for each call at most one process is started, so one that cannot start
ends its call, and nothing starts over and over.

Callers and the children's threads share one lock. It is held for short steps only, and never during
a callback.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from afterword.errors import ConfigurationError, UnknownTask
from afterword.model.fork import in_child
from afterword.model.modules import find_module
from afterword.worker.processes import logs, wire
from afterword.worker.processes.call import Call, OnEnd, OnMessage, call_back
from afterword.worker.processes.ending import Ending
from afterword.worker.processes.process import END_WITHIN, Child

IDLE_SECONDS = 60.0
_CANCEL = wire.encode({"cancel": True})
_STOPPED = "The worker has ended the processes of its tasks."


Ended = list[tuple[Call, Ending]]


class Processes:
    """Runs calls of a handler in child processes.

    Args:
        size: processes at the same time.
        handler: `module:function`, called in the child with each request and a `send`; what it
            returns, sends and takes is JSON. Trusted: it comes from code.
        idle_seconds: how long a child without calls is kept; at most twice that. Default: 60.

    Raises:
        ConfigurationError: the size is not positive.

    Example:
        processes = Processes(2, "shop.work:handle")
        call = processes.start({"module": "shop.work"}, on_message=print, on_end=print)
        call.kill("It takes too long.")
        processes.stop()
    """

    def __init__(self, size: int, handler: str, *, idle_seconds: float = IDLE_SECONDS) -> None:
        if size < 1:
            raise ConfigurationError(
                f"The number of processes must be 1 or more, but it is {size}."
            )
        self.size = size
        self._handler = handler
        self._idle_seconds = idle_seconds
        self._reset()
        in_child(self._forget)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Child, Call] = {}
        self._idle: dict[Child, float] = {}  # since when; the latest is the last
        self._leaving: set[Child] = set()  # without a call, and never to get one
        self._waiting: deque[Call] = deque()
        self._tellers: list[threading.Thread] = []
        self._stopped = False

    # ------------------------------------------------------------------ for callers

    def start(self, request: dict[str, Any], on_message: OnMessage, on_end: OnEnd) -> Call:
        """Run the handler with a request; never waits for a process.

        Args:
            request: has at least "module", the name of a module to import first.
            on_message: called with each message of the handler.
            on_end: called exactly once. Both are called in threads of the pool.

        Raises:
            UnknownTask: this process has not imported the module itself.
            TypeError, ValueError: the request cannot be written as JSON.
        """
        _require_imported(request["module"])
        order = {"call": request, "handler": self._handler, "levels": logs.levels()}
        call = Call(self, wire.encode(order), on_message, on_end)
        with self._changing(self._end_elsewhere) as ended:
            self._place(call, ended)
        return call

    def cancel(self, call: Call) -> None:
        """See `Call.cancel`."""
        with self._lock:
            holder = self._holder(call)
            if holder is not None and not call.cancelled:
                holder.order(_CANCEL)
            call.cancelled = True

    def kill(self, call: Call, reason: str) -> None:
        """See `Call.kill`."""
        with self._changing(self._end_elsewhere) as ended:
            if call in self._waiting:
                self._waiting.remove(call)
                ended.append((call, Ending(died=reason)))
            elif holder := self._holder(call):
                call.killed = call.killed or reason
                holder.kill()

    def stop(self) -> None:
        """Kill what runs, end what waits, and return when all processes are gone.

        Idle ones run their exit handlers, which takes about 0.1 seconds, and at most 5.
        """
        with self._changing(self._end_elsewhere) as ended:
            self._stopped = True
            ended.extend((call, Ending(died=_STOPPED)) for call in self._waiting)
            self._waiting.clear()
            for child, call in self._busy.items():
                call.killed = call.killed or _STOPPED
                child.kill()
            for child in list(self._idle):
                self._let_go(child)
            children = [*self._busy, *self._leaving]
        for thread in [*(child.thread for child in children), *self._tellers]:
            if thread is not threading.current_thread():
                thread.join(2 * END_WITHIN)

    # ------------------------------------------------------------------ for children's threads

    def on_answer(self, child: Child, answer: dict[str, Any]) -> None:
        """See `process.Owner`."""
        match answer:
            case {"sent": message}:
                if call := self._busy.get(child):
                    call.pass_on(message)
            case {"log": values}:
                call_back(logs.replay, values)
            case {"value": value}:
                self._on_ended(child, Ending(value=value))
            case {"error": error}:
                self._on_ended(child, Ending(error=error))

    def _on_ended(self, child: Child, ending: Ending) -> None:
        with self._changing(Call.end) as ended:
            call = self._busy.pop(child)
            ended.append((call, ending))
            if ending.error is not None or call.killed is not None:
                self._let_go(child)
                self._place_next(ended)
            elif self._waiting:
                self._give(child, self._waiting.popleft())
            else:
                self._idle[child] = time.monotonic()

    def on_pause(self, child: Child) -> None:
        """See `process.Owner`."""
        with self._lock:
            since = self._idle.get(child)
            if since is not None and time.monotonic() - since >= self._idle_seconds:
                self._let_go(child)

    def on_gone(self, child: Child, reason: str) -> None:
        """See `process.Owner`."""
        with self._changing(Call.end) as ended:
            self._idle.pop(child, None)
            self._leaving.discard(child)
            call = self._busy.pop(child, None)
            if call is not None:
                ended.append((call, Ending(died=call.killed or reason)))
                self._place_next(ended)

    # ------------------------------------------------------------------ under the lock

    @contextmanager
    def _changing(self, tell: Callable[[Call, Ending], None]) -> Iterator[Ended]:
        """Hold the lock; afterwards call `tell` for each call that has ended meanwhile."""
        ended: Ended = []
        with self._lock:
            yield ended
        for call, ending in ended:
            tell(call, ending)

    def _place(self, call: Call, ended: Ended) -> None:
        if self._stopped:
            ended.append((call, Ending(died=_STOPPED)))
        elif self._idle:
            child, _ = self._idle.popitem()
            self._give(child, call)
        elif len(self._busy) < self.size:
            self._give_new(call, ended)
        else:
            self._waiting.append(call)

    def _place_next(self, ended: Ended) -> None:
        """Give the next waiting call a process: there is room for one more."""
        if self._waiting:
            self._place(self._waiting.popleft(), ended)

    def _give(self, child: Child, call: Call) -> None:
        call.child = child
        self._busy[child] = call
        child.order(call.order)
        if call.cancelled:
            child.order(_CANCEL)

    def _give_new(self, call: Call, ended: Ended) -> None:
        child = Child(self, self._idle_seconds)
        self._give(child, call)
        try:
            child.start()
        except RuntimeError as error:  # the system has no thread left
            del self._busy[child]
            if self._busy:
                self._waiting.append(call)
            else:
                ended.append((call, Ending(died=f"No process was started for the task: {error}.")))

    def _let_go(self, child: Child) -> None:
        self._idle.pop(child, None)
        self._leaving.add(child)
        child.stop()

    def _holder(self, call: Call) -> Child | None:
        """The child that runs a call now."""
        child = call.child
        return child if child is not None and self._busy.get(child) is call else None

    # ------------------------------------------------------------------ besides

    def _end_elsewhere(self, call: Call, ending: Ending) -> None:
        thread = call.end_elsewhere(ending)
        with self._lock:
            self._tellers = [each for each in [*self._tellers, thread] if each and each.is_alive()]

    def _forget(self) -> None:
        """Forget, in a forked child, the processes of the parent."""
        for child in [*self._busy, *self._idle, *self._leaving]:
            child.abandon()
        self._reset()


def _require_imported(module: str) -> None:
    """Refuse a module that is not imported: stored data must not choose what is imported."""
    if find_module(module) is None:
        raise UnknownTask(
            f"A child process imports only modules that its parent has imported, but {module!r} is"
            " none of them. Import it where the application is created."
        )
