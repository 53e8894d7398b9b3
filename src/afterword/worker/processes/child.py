"""The main program of a child process: it runs one call after the other for its parent.

The main thread runs the calls, so a task may use signals and an event loop as in a program of its
own. A second thread reads what the parent says. The pipes are this module's alone: a task that
reads its standard input finds it empty, and what it prints goes to standard error.
"""

import contextlib
import faulthandler
import importlib
import io
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from afterword.model.fork import free_forks
from afterword.model.outcome import describe
from afterword.worker.processes import logs, tether, wire

Send = Callable[[dict[str, Any]], None]
Handler = Callable[[dict[str, Any], Send], dict[str, Any]]

_IMPORTING = (__name__, "importlib")  # whose frames say nothing about a failed import
_cancelled = threading.Event()


def cancelled() -> bool:
    """True once the parent has asked the present call to end."""
    return _cancelled.is_set()


class Answers:
    """The way to the parent: whole lines, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()
        self._call = 0

    def is_open(self) -> bool:
        """True if there is a parent; False in a process that a task has forked."""
        return self._descriptor is not None

    def close(self) -> None:
        """Close the pipe in a forked process, which does not own it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._lock = None, threading.Lock()

    def write(self, answer: dict[str, Any]) -> None:
        """Write an answer that belongs to no call."""
        line = wire.encode(answer)
        with self._lock:
            self._write(line)

    def sending(self) -> Send:
        """The `send` function of a handler; a no-op once its call has ended."""
        call = self._call

        def send(message: dict[str, Any]) -> None:
            line = wire.encode({"sent": message})
            with self._lock:
                if call == self._call:
                    self._write(line)

        return send

    def end(self, answer: dict[str, Any]) -> None:
        """Write the ending of the present call."""
        line = _encode(answer)
        with self._lock:
            self._call += 1
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._descriptor is not None:
            try:
                wire.write(self._descriptor, line)
            except OSError:  # the parent is gone
                tether.end_group()


def _encode(answer: dict[str, Any]) -> bytes:
    try:
        return wire.encode(answer)
    except (TypeError, ValueError, RecursionError) as error:
        return wire.encode({"error": f"The answer of a call must be JSON: {describe(error)}"})


def main() -> None:
    """Serve the parent until it is gone or sends `stop`."""
    tether.leave_signals_to_parent()
    tether.end_with_parent()
    free_forks()
    orders, answers = _take_pipes()
    _show_crashes()
    logs.forward(lambda record: answers.write({"log": record}), answers.is_open)
    calls: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(
        target=_listen, args=(orders, calls), name="afterword-parent", daemon=True
    ).start()
    answers.write({"ready": os.getpid()})
    while order := calls.get():
        tether.leave_signals_to_parent()  # the call before may have changed them
        answers.end(_run(order, answers.sending()))


def _take_pipes() -> tuple[int, Answers]:
    """Hide the pipes from user code, and from processes that it starts."""
    orders, answers = os.dup(0), Answers(os.dup(1))
    empty = os.open(os.devnull, os.O_RDWR)
    os.dup2(empty, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the parent has no standard error
        os.dup2(empty, 1)
    os.close(empty)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a killed process flushes nothing
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _forget(orders, answers))
    return orders, answers


def _forget(orders: int, answers: Answers) -> None:
    """Close the pipes in a process that a task has forked, which the parent does not know."""
    os.close(orders)
    answers.close()


def _show_crashes() -> None:
    """Print a traceback to standard error when a fatal signal kills this process."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # there is no standard error
        faulthandler.enable()


def _listen(orders: int, calls: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    """Take orders, in a thread, until the parent is gone."""
    for order in wire.read(orders):
        match order:
            case {"call": _}:
                _cancelled.clear()
                calls.put(order)
            case {"cancel": _}:
                _cancelled.set()
            case {"stop": _}:
                calls.put(None)
    tether.end_group()


def _run(order: dict[str, Any], send: Send) -> dict[str, Any]:
    """Run a call; an exception of user code becomes an answer, too."""
    request: dict[str, Any] = order["call"]
    try:
        importlib.import_module(request["module"])
        handle = _function(order["handler"])
    except BaseException as error:  # also a SystemExit: the module may be a script
        return {"error": _not_imported(request["module"], error)}
    logs.set_levels(order["levels"])
    try:
        return {"value": handle(request, send)}
    except BaseException as error:
        return {"error": describe(error, whole=True)}


def _function(reference: str) -> Handler:
    """The handler that the parent's code names."""
    module, _, name = reference.partition(":")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def _not_imported(module: str, error: BaseException) -> str:
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith(_IMPORTING):
        frames = frames.tb_next
    return (
        f"The module {module!r} cannot be imported in a child process. If it is a script, start"
        f' what it starts under `if __name__ == "__main__":`.\n'
        f"{describe(error.with_traceback(frames))}"
    )
