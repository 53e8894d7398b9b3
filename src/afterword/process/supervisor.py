"""The parent of worker processes: starts them, restarts them, ends them.

    starting ──▶ running ──▶ ended on its own ──▶ started again, after a growing delay
                    │                         └─▶ (wrong usage) the others are drained, and it ends
                    ├──▶ a file has changed ────▶ drained, and started again
                    └──▶ the first signal ──────▶ drained; the second Ctrl-C kills

Everything that happens becomes an event in one queue, which the main thread takes from: a signal,
the end of a child, a change of the source, a report. A child is told to drain by cutting its
`lifeline`; it is killed when its time for that is over: the grace time of its application, if it
has reported that, and some seconds to shut down; while it is still starting, the grace time alone.
Children have a process group of their own, so that a terminal's Ctrl-C comes to the parent only.
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
SHUT_DOWN_WITHIN = 15.0  # seconds a child may take for everything else, once its grace is over
REPORTS_WITHIN = 1.0  # seconds until what a child has reported is taken, once it is gone
FIRST_DELAY = 0.1  # seconds until a child that has died is started again; doubled each time
LAST_DELAY = 10.0
PROVEN_AFTER = 30.0  # seconds of life after which the next delay is the first again
USAGE = 2  # exit code: started again, it would only say the same again
KILLED = 130  # exit code after the second Ctrl-C; what a shell expects
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GROUP_OF_ITS_OWN = 0


@dataclass(frozen=True, slots=True)
class Signalled:
    """Somebody wants the end."""

    number: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The source is not what the children run any more."""

    what: str


@dataclass(slots=True, eq=False)
class Child:
    """One place of a worker process, and whoever is in it now."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0  # monotonic
    due_at: float | None = None  # monotonic; to be started then
    delay: float = FIRST_DELAY
    draining: bool = False  # to be replaced
    grace: float | None = None  # as it has reported, once it has started
    cut_at: float | None = None  # monotonic; told to drain
    killed: bool = False  # because that took too long


@dataclass(frozen=True, slots=True)
class Ended:
    """A child's process is gone."""

    child: Child
    code: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A child has told something; see `lifeline.report`."""

    child: Child
    said: dict[str, Any]


class After(Enum):
    """What follows when a child has ended though nobody told it to."""

    RESTART = "started again"
    WAIT = "waits for a change of the source"
    GIVE_UP = "the command line or the application has to be changed"


def after(code: int, reload: bool) -> After:
    """Decide what follows on an unexpected exit code.

    >>> after(-9, reload=False)
    <After.RESTART: 'started again'>
    """
    if reload and code > 0:
        return After.WAIT
    return After.GIVE_UP if code == USAGE else After.RESTART


def describe(code: int) -> str:
    """An exit code, or the name of the signal that killed.

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
        command: what each of them runs; standard input becomes its lifeline.
        processes: how many.
        reload: a child that fails waits for a change of the source (`changed`).
        tell: takes a line for the person who watches.
        tell_error: takes the configuration error of the children, once.
        grace: seconds a child may take to drain that has not reported its own grace time.

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
    _errors: set[str] = field(default_factory=set)  # that have been told

    def changed(self, what: str) -> None:
        """Have every child drain and start again; from any thread."""
        self._events.put(Changed(what))

    def run(self) -> int:
        """Start the children, and come back when all have ended; returns the exit code."""
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
        """Signals become events."""
        before = [(number, signal.signal(number, self._on_signal)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(Signalled(number))

    def _next_event(self) -> Event | None:
        """The next event; None if a child is due before it comes, to be started or killed."""
        times = [at for each in self._children for at in (each.due_at, self._kill_at(each))]
        due = [at for at in times if at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if os.name == "nt":  # a wait without end would not notice Ctrl-C there
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
            case Reported(child, said):
                self._on_reported(child, said)

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
        """In a thread: what a child reports."""
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
        listener.join(REPORTS_WITHIN)  # first what it has said; others may keep the pipe open
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

    def _on_reported(self, child: Child, said: dict[str, Any]) -> None:
        match said:
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
            self.tell(f"{name}: the workers drain; Ctrl-C once more ends them at once")
            self._drain_all()
        elif number == signal.SIGINT:
            self.tell(f"{name}: the workers are killed; others take over what they were running")
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
        """When a child that was told to drain has had its time; monotonic."""
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
                f"worker {child.number} {did} {now - (child.cut_at or now):.0f} s after it was told"
                " to drain: it is killed; others take over what it was running"
            )
            child.killed = True
            child.process.kill()

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.kill()


def cut_lifeline(child: Child) -> None:
    """Have a child's process drain; harmless when it has been told, or is gone."""
    if child.cut_at is None:
        child.cut_at = time.monotonic()
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()


def _new_process(command: Sequence[str]) -> "tuple[subprocess.Popen[bytes], int | None]":
    """Start a child; the pipe on which it reports, where there can be one."""
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
