"""One child process, as its parent sees it.

    started ──▶ ready ──▶ takes orders, gives answers ──▶ gone
       │                               │                   ▲
       └── killed, crashed ────────────┴── told to stop ───┘

Two threads serve it. The first one starts it, reads its answers, and waits for its end; the kernel
takes the end of this thread for the death of the parent, so it lives as long as the process does.
The second one writes orders, because a pipe that is full blocks.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import IO, Any, Protocol, cast

from afterword.worker.processes import tether, wire
from afterword.worker.processes.ending import describe

END_WITHIN = 5.0  # seconds that a child has for its exit handlers once it was told to stop
_GROUP_OF_ITS_OWN = 0 if os.name == "posix" else None
_STOP = wire.encode({"stop": True})

Process = subprocess.Popen[bytes]


class Owner(Protocol):
    """The receiver of a child's reports, from its threads; implemented by `pool.Processes`."""

    def on_answer(self, child: "Child", answer: dict[str, Any]) -> None:
        """Handle an answer of the child."""

    def on_pause(self, child: "Child") -> None:
        """Handle a pause: the child has had no order for a while."""

    def on_gone(self, child: "Child", reason: str) -> None:
        """Handle the end of the child; this is the last report."""


class Child:
    """A process that takes orders.

    Args:
        owner: receives the reports.
        pause: seconds without an order after which `on_pause` is called, each time.
    """

    def __init__(self, owner: Owner, pause: float) -> None:
        self._owner = owner
        self._pause = pause
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: Process | None = None
        self._lock = threading.Lock()  # of the following two
        self._killable: Process | None = None
        self._killed = False
        self._gone = threading.Event()
        self._writer = threading.Thread(target=self._write, name="afterword-orders", daemon=True)
        self.thread = threading.Thread(target=self._live, name="afterword-process", daemon=True)

    def start(self) -> None:
        """Start the process, without waiting for it.

        Raises:
            RuntimeError: the system has no thread left.
        """
        self.thread.start()

    def order(self, line: bytes) -> None:
        """Send an order, as soon as the child is ready."""
        self._orders.put(line)

    def stop(self) -> None:
        """Ask it to end, with its exit handlers; it is killed if that takes too long."""
        self._orders.put(_STOP)
        self._orders.put(None)

    def kill(self) -> None:
        """Kill it, and the processes that it has started."""
        with self._lock:
            self._killed = True
            if self._killable is not None:
                _kill(self._killable)

    def abandon(self) -> None:
        """Forget the process in a forked child: it is the parent's."""
        if self._process is not None:
            self._process.returncode = 0  # not waited for here
            _close(self._process)

    # ------------------------------------------------------------------ the first thread

    def _live(self) -> None:
        try:
            process = self._spawn()
        except OSError as error:
            reason = f"could not be started: {error}"
        else:
            disturbed = self._read(process)
            ended = self._wait(process)
            reason = disturbed or ended
        self._owner.on_gone(self, f"The process of the task {reason}.")

    def _spawn(self) -> Process:
        # Until the child has its own handlers, a signal to all of the service would kill it.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, tether.SIGNALS)
        process = subprocess.Popen(  # noqa: S603
            _command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=_GROUP_OF_ITS_OWN,
        )
        with self._lock:
            self._process = self._killable = process
            if self._killed:
                _kill(process)
        return process

    def _read(self, process: Process) -> str | None:
        """Pass on its answers until it is gone; return the reason if it has to be killed."""
        try:
            for answer in wire.read(_descriptor(process.stdout)):
                if "ready" in answer:
                    self._writer.start()
                else:
                    self._owner.on_answer(self, answer)
        except ValueError:
            return "was killed, because something has written into the pipe of its answers"
        except RuntimeError as error:
            return f"was killed: {error}"  # no thread left for writing
        return None

    def _wait(self, process: Process) -> str:
        """Wait for its end, and describe it."""
        with self._lock:
            # It has ended; this kills the processes that it has started. Its number is the
            # group's, and the system gives it to no other process until we have waited for it.
            _kill(process)
            self._killable = None
        ended = describe(process.wait())
        started = self._writer.is_alive()
        self._gone.set()
        if started:
            self._orders.put(None)
            self._writer.join()
        _close(process)
        return ended if started else f"{ended} while it started; its standard error may say why"

    # ------------------------------------------------------------------ the second thread

    def _write(self) -> None:
        process = cast(Process, self._process)
        with contextlib.suppress(OSError):  # gone: the other thread has noticed, too
            while order := self._next_order():
                wire.write(_descriptor(process.stdin), order)
        if not self._gone.wait(END_WITHIN):
            self.kill()

    def _next_order(self) -> bytes | None:
        while True:
            try:
                return self._orders.get(timeout=self._pause)
            except queue.Empty:
                self._owner.on_pause(self)


def _command() -> list[str]:
    """A Python like this one, which imports from where this one does."""
    program = [
        "'A process for tasks of Afterword'",  # for lists of processes
        f"import sys; sys.path[:] = {[str(each) for each in sys.path]!r}",
        "from afterword.worker.processes.child import main; main()",
    ]
    return [sys.executable, *_options(), "-c", "; ".join(program)]


def _options() -> list[str]:
    """The options of this interpreter that change what code does."""
    flags = ["-O"] * sys.flags.optimize + ["-B"] * sys.flags.dont_write_bytecode
    named = [name if value is True else f"{name}={value}" for name, value in sys._xoptions.items()]
    return flags + [f"-W{each}" for each in sys.warnoptions] + [f"-X{each}" for each in named]


def _descriptor(pipe: IO[bytes] | None) -> int:
    return cast(IO[bytes], pipe).fileno()


def _close(process: Process) -> None:
    for pipe in (process.stdin, process.stdout):
        cast(IO[bytes], pipe).close()


def _kill(process: Process) -> None:
    """Kill it and its group. Never `process.kill()`, which may wait for it and free its number."""
    if os.name != "posix":
        process.kill()
        return
    for kill in (os.killpg, os.kill):  # it may have left the group
        with contextlib.suppress(OSError):
            kill(process.pid, signal.SIGKILL)
