"""The parent of worker processes: starts them, restarts them, ends them.

    starting ──▶ running ──▶ ended by itself ───▶ started again, after a growing delay
                    │                         └─▶ (wrong usage) the others drain, and it ends
                    ├──▶ a file has changed ────▶ drained, and started again
                    └──▶ the first signal ──────▶ drained; the second Ctrl-C kills

Every signal, end of a child, change of the source and report becomes an event in one queue, which
the main thread reads. To make a child drain, the parent closes its `lifeline`. A child that takes
too long is killed. It has the grace time that its application has reported, and some seconds to
shut down; while it is still starting, only the default grace time. Children have process groups of
their own, so that a terminal's Ctrl-C reaches only the parent.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType
from typing import Any

from afterword.process.lifeline import VARIABLE

DEFAULT_GRACE = 20.0  # seconds, as of `Afterword`
SHUT_DOWN_WITHIN = 15.0  # seconds a child may take to shut down after its grace time
REPORTS_WITHIN = 1.0  # seconds to wait for the reports of a child that has ended
FIRST_DELAY = 0.1  # seconds until a child that has died is started again; doubled each time
LAST_DELAY = 10.0
PROVEN_AFTER = 30.0  # seconds of life after which the delay is reset
USAGE = 2  # exit code: a restart would fail with the same error
KILLED = 130  # exit code after the second Ctrl-C, as shells expect it
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GROUP_OF_ITS_OWN = 0


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal to end has arrived."""

    number: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The source has changed since the children started."""

    what: str


@dataclass(slots=True, eq=False)
class Child:
    """A slot for a worker process, and the present process in it."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0  # monotonic
    due_at: float | None = None  # monotonic; time of the next start
    delay: float = FIRST_DELAY
    draining: bool = False  # to be replaced
    grace: float | None = None  # reported by the child, once it has started
    cut_at: float | None = None  # monotonic; time at which it was asked to drain
    killed: bool = False  # because draining took too long


@dataclass(frozen=True, slots=True)
class Ended:
    """A child's process is gone."""

    child: Child
    code: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A child has sent a report; see `lifeline.report`."""

    child: Child
    values: dict[str, Any]


class After(Enum):
    """The reactions to an unexpected end of a child."""

    RESTART = "started again"
    WAIT = "waits for a change of the source"
    GIVE_UP = "the command line or the application must be changed"


def after(code: int, reload: bool) -> After:
    """Decide the reaction to an unexpected exit code.

    >>> after(-9, reload=False)
    <After.RESTART: 'started again'>
    """
    if reload and code > 0:
        return After.WAIT
    return After.GIVE_UP if code == USAGE else After.RESTART


def describe(code: int) -> str:
    """Describe an exit code; a negative one by the name of its signal.

    >>> describe(1), describe(-9)
    ('exit code 1', 'SIGKILL')
    """
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


Event = Signalled | Changed | Ended | Reported


@dataclass(slots=True)
class Supervisor:
    """Keeps a number of children running.

    Args:
        command: the command line of each child; standard input becomes its lifeline.
        processes: the number of children.
        reload: True if a failed child waits for a change of the source (`changed`).
        tell: prints a line for the user.
        tell_error: prints a configuration error of the children, once.
        grace: seconds a child may take to drain if it has not reported a grace time.

    Example:
        >>> import sys
        >>> code = "import sys; sys.exit(2)"
        >>> Supervisor([sys.executable, "-c", code], 1, tell=lambda line: None).run()
        2
    """

    command: Sequence[str]
    processes: int
    tell: Callable[[str], object]
    reload: bool = False
    tell_error: Callable[[str], object] = print
    grace: float = DEFAULT_GRACE
    _events: "queue.SimpleQueue[Event]" = field(default_factory=queue.SimpleQueue)
    _children: list[Child] = field(default_factory=list)
    _stopping: bool = False
    _code: int = 0
    _errors: set[str] = field(default_factory=set)  # those that have been printed

    def changed(self, what: str) -> None:
        """Drain and restart every child; may be called in any thread."""
        self._events.put(Changed(what))

    def run(self) -> int:
        """Start the children, wait until all have ended, and return the exit code."""
        self._children = [Child(number) for number in range(1, self.processes + 1)]
        with self._listening():
            try:
                for child in self._children:
                    self._start(child)
                while not self._over:
                    self._handle(self._next_event())
                    self._kill_late()
                    self._start_due()
            finally:
                self._kill_all()
        return self._code

    @property
    def _over(self) -> bool:
        return self._stopping and not any(child.process for child in self._children)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Turn signals into events."""
        before = [(number, signal.signal(number, self._on_signal)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(Signalled(number))

    def _next_event(self) -> Event | None:
        """Return the next event; None if a child must be started or killed before one comes."""
        times = [at for each in self._children for at in (each.due_at, self._kill_at(each))]
        due = [at for at in times if at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if os.name == "nt":  # an endless wait would not notice Ctrl-C there
            timeout = min(1.0, timeout or 1.0)
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def _handle(self, event: Event | None) -> None:
        match event:
            case Signalled(number):
                self._on_signal_taken(number)
            case Changed(what):
                self._replace_all(what)
            case Ended(child, code):
                self._on_ended(child, code)
            case Reported(child, values):
                self._on_reported(child, values)

    # ------------------------------------------------------------------ one child

    def _start(self, child: Child) -> None:
        child.due_at, child.draining = None, False
        child.grace, child.cut_at, child.killed = None, None, False
        child.started_at = time.monotonic()
        try:
            process, reports = _new_process(self.command)
        except OSError as error:
            self._start_later(child, f"could not be started: {error}")
            return
        child.process = process
        listener = _thread(self._listen, child, reports)
        _thread(self._wait, child, process, listener)
        self.tell(f"worker {child.number} started pid={process.pid}")

    def _listen(self, child: Child, reports: int | None) -> None:
        """Read the reports of a child, in a thread."""
        if reports is None:
            return
        with open(reports, "rb") as lines:  # noqa: PTH123 - a descriptor
            for line in lines:
                with contextlib.suppress(ValueError):
                    self._events.put(Reported(child, json.loads(line)))

    def _wait(
        self, child: Child, process: "subprocess.Popen[bytes]", listener: threading.Thread
    ) -> None:
        code = process.wait()
        listener.join(REPORTS_WITHIN)  # its reports come first; others may keep the pipe open
        self._events.put(Ended(child, code))

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.due_at is not None and child.due_at <= now:
                self._start(child)

    def _start_later(self, child: Child, reason: str) -> None:
        now = time.monotonic()
        if now - child.started_at >= PROVEN_AFTER:
            child.delay = FIRST_DELAY
        self.tell(f"worker {child.number} {reason}; it starts again in {child.delay:g} s")
        child.due_at = now + child.delay
        child.delay = min(child.delay * 2, LAST_DELAY)

    def _on_reported(self, child: Child, values: dict[str, Any]) -> None:
        match values:
            case {"grace": int() | float() as grace}:
                child.grace = grace
            case {"error": str() as error} if error not in self._errors:
                self._errors.add(error)
                self.tell_error(error)

    def _on_ended(self, child: Child, code: int) -> None:
        cut_lifeline(child)
        child.process = None
        reason = f"ended: {describe(code)}"
        if self._stopping:
            self.tell(f"worker {child.number} {reason}")
            self._code = self._code or int(code != 0)
        elif child.draining:
            child.due_at = time.monotonic()
        else:
            self._on_died(child, code, reason)

    def _on_died(self, child: Child, code: int, reason: str) -> None:
        match after(code, self.reload):
            case After.RESTART:
                self._start_later(child, reason)
            case After.WAIT:
                self.tell(f"worker {child.number} {reason}; it starts again after a change")
            case After.GIVE_UP:
                self.tell(f"worker {child.number} {reason}; see its message above")
                self._code = code
                self._drain_all()

    # ------------------------------------------------------------------ all of them

    def _on_signal_taken(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self._stopping:
            self.tell(f"{name}: the workers drain; a second Ctrl-C ends them at once")
            self._drain_all()
        elif number == signal.SIGINT:
            self.tell(f"{name}: the workers are killed; others recover their running jobs")
            self._code = KILLED
            self._kill_all()

    def _drain_all(self) -> None:
        self._stopping = True
        for child in self._children:
            child.due_at = None
            cut_lifeline(child)

    def _replace_all(self, what: str) -> None:
        if self._stopping:
            return
        self.tell(f"{what} has changed: the workers drain and start again")
        self._errors.clear()
        for child in self._children:
            child.delay = FIRST_DELAY
            if child.process is None:
                child.due_at = time.monotonic()
            else:
                child.draining = True
                cut_lifeline(child)

    def _kill_at(self, child: Child) -> float | None:
        """Return the monotonic time at which to kill a child; None if it is not draining."""
        if child.process is None or child.cut_at is None or child.killed:
            return None
        if child.grace is None:
            return child.cut_at + self.grace
        return child.cut_at + child.grace + SHUT_DOWN_WITHIN

    def _kill_late(self) -> None:
        now = time.monotonic()
        for child in self._children:
            kill_at = self._kill_at(child)
            if kill_at is None or kill_at > now or child.process is None:
                continue
            did = "has not ended" if child.grace is not None else "was still starting"
            self.tell(
                f"worker {child.number} {did} {now - (child.cut_at or now):.0f} s after it was"
                " asked to drain: it is killed; others recover its running jobs"
            )
            child.killed = True
            child.process.kill()

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.kill()


def cut_lifeline(child: Child) -> None:
    """Make a child's process drain; no-op if it is draining, or has ended."""
    if child.cut_at is None:
        child.cut_at = time.monotonic()
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()


def _new_process(command: Sequence[str]) -> "tuple[subprocess.Popen[bytes], int | None]":
    """Start a child; return its process, and the pipe of its reports (None on Windows)."""
    if os.name == "nt":
        return subprocess.Popen(command, stdin=subprocess.PIPE), None  # noqa: S603
    reports, its_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            process_group=_GROUP_OF_ITS_OWN,
            pass_fds=[its_end],
            env={**os.environ, VARIABLE: str(its_end)},
        )
    except OSError:
        os.close(reports)
        raise
    finally:
        os.close(its_end)
    return process, reports


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, name="afterword-child", daemon=True)
    thread.start()
    return thread
