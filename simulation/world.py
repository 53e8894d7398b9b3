"""The world of one seed: threads that take turns, a clock that jumps, and events from outside.

Every thread of the simulation is a greenlet, the event loop's included. One of them runs at a time
until it waits, or until it reaches a point where the operating system could switch threads. The
seed decides which one runs next. When all of them wait, time jumps to the next deadline.

    hub ──▶ a thread's turn ──▶ wait, or pause ──▶ hub ──▶ due events from outside: clients, faults

The same seed makes the same choices, so it gives the same trace.
"""

import asyncio
import hashlib
import heapq
import itertools
import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

STARTED_AT = 1_750_000_000.0  # the wall clock's seconds since 1970
MOST_TURNS = 100_000  # of one seed; more means an endless loop
STUCK_AFTER = 300  # turns without progress of time, as in a busy loop
BETWEEN_LINES = 0.1  # part of the seeds that interrupt threads between any two lines
_WEIGHTS = (0.03, 0.3, 1.0, 1.0, 5.0)  # how fast a thread is, compared to the others


Traced = Callable[[FrameType, str, Any], Any]


class Livelock(Exception):
    """An endless loop: threads take turns, but the scenario does not end."""


class Thread:
    """One simulated thread; `owner` is the process it belongs to, None for the outside."""

    def __init__(self, world: "World", target: Callable[[], object], name: str, owner: "Owner"):
        self.name = name
        self.owner = owner
        self.number = next(world.numbers)
        self.weight = world.random.choice(_WEIGHTS)
        self.ready = True
        self.ended = False
        self.wake_at: float | None = None
        self.loop: asyncio.AbstractEventLoop | None = None  # the loop that runs in it
        self.joiners: list[Thread] = []
        self._target = target
        self.error: BaseException | None = None
        self.current: greenlet = greenlet(self._run, world.hub)

    def _run(self) -> None:
        try:
            self._target()
        except GreenletExit:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True


class Owner:
    """An owner of threads: a process, which may die, or the outside."""

    dead = False
    frozen = False  # stopped: its threads get no turns
    skew = 0.0  # seconds by which the clock of its host is ahead


class World:
    """Threads, time and outside events, in an order that the seed decides.

    Args:
        seed: decides all choices made while the world runs.
        talk: called with each step, to print it.
    """

    current: "World | None" = None  # the world that runs now
    interrupted: frozenset[str] = frozenset()  # files between whose lines threads are interrupted

    def __init__(self, seed: object, talk: Callable[[str], object] | None = None) -> None:
        self.random = Random(f"schedule {seed}")
        self.now = 1_000.0  # monotonic
        self.wall_is_ahead = STARTED_AT - self.now
        self.hub = getcurrent()
        self.threads: list[Thread] = []
        self.thread: Thread | None = None  # the one whose turn it is
        self.numbers = itertools.count(1)
        self.turns = 0
        self._same_time = 0
        self._outside: list[tuple[float, int, Callable[[], object]]] = []
        self._trace = hashlib.blake2b(digest_size=8)
        self._talk = talk
        # Each seed decides how often threads are interrupted, and how often time passes.
        self._switching = self.random.choice((0.02, 0.1, 0.3, 0.7))
        self._between_lines = self.random.random() < BETWEEN_LINES
        self._slowness = self.random.choice((0.0, 0.002, 0.02))

    # ------------------------------------------------------------------ the trace

    def note(self, text: str) -> None:
        """Make a step part of the trace."""
        self._trace.update(text.encode())
        if self._talk is not None:
            name = self.thread.name if self.thread else "-"
            self._talk(f"{self.now - 1_000.0:9.4f}  {name:<12} {text}")

    @property
    def trace(self) -> str:
        """Return a digest of all steps so far."""
        return self._trace.hexdigest()

    # ------------------------------------------------------------------ for threads

    def spawn(self, target: Callable[[], object], name: str, owner: Owner) -> Thread:
        """Start a thread."""
        thread = Thread(self, target, name, owner)
        self.threads.append(thread)
        return thread

    def pause(self) -> None:
        """Let another thread go on, if the seed says so."""
        thread = self.thread
        if thread is None:
            return
        if thread.owner.dead:
            raise GreenletExit
        if self.random.random() < self._switching:
            self._to_hub(thread)

    def wait(self, until: float | None) -> None:
        """Wait for a call of `wake`, or until a time."""
        thread = self.thread
        if thread is None:
            raise RuntimeError("Outside of all threads there is nothing to wait for.")
        if thread.owner.dead:
            raise GreenletExit
        thread.ready, thread.wake_at = False, until
        self._to_hub(thread)

    def wake(self, thread: Thread) -> None:
        """Let a waiting thread go on."""
        thread.ready, thread.wake_at = True, None

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds, in a thread."""
        until = self.now + max(seconds, 0.0)
        self.wait(until)
        while self.now < until:
            self.wait(until)

    def _to_hub(self, thread: Thread | None) -> None:
        assert thread is not None
        thread.current = getcurrent()
        self.hub.switch()
        if thread.owner.dead:
            raise GreenletExit

    # ------------------------------------------------------------------ for the outside

    def at(self, when: float, callback: Callable[[], object]) -> None:
        """Call back at a time, between two turns."""
        heapq.heappush(self._outside, (when, next(self.numbers), callback))

    def run(self, done: Callable[[], bool], until: float) -> bool:
        """Take turns until `done()`; False if the time was over first."""
        while not done():
            self.turns += 1
            if self.turns > MOST_TURNS:
                raise Livelock("; ".join(each.name for each in self.threads if each.ready))
            while self._outside and self._outside[0][0] <= self.now:
                heapq.heappop(self._outside)[2]()
            ready = [each for each in self.threads if each.ready and not each.owner.frozen]
            if ready and self._same_time < STUCK_AFTER:
                self._turn(ready[0] if len(ready) == 1 else self._choose(ready))
            elif not self._let_time_pass(until):
                return False
        return True

    def _choose(self, ready: list[Thread]) -> Thread:
        chance = self.random.random() * sum(each.weight for each in ready)
        for each in ready:
            chance -= each.weight
            if chance < 0:
                return each
        return ready[-1]

    def _turn(self, thread: Thread) -> None:
        self._trace.update(b"%d " % thread.number)
        self._same_time += 1
        if self._slowness and self.random.random() < self._slowness:
            self._advance(self.now + 10 ** self.random.uniform(-5, -1))
        self.thread = thread
        asyncio._set_running_loop(thread.loop)
        if self._between_lines:
            sys.settrace(self._trace_call)
        thread.current.switch()
        if self._between_lines:
            sys.settrace(None)
        asyncio._set_running_loop(None)
        self.thread = None
        if thread.ended:
            self._bury(thread)

    def _trace_call(self, frame: FrameType, event: str, arg: object) -> "Traced | None":
        return self._trace_line if frame.f_code.co_filename in self.interrupted else None

    def _trace_line(self, frame: FrameType, event: str, arg: object) -> "Traced":
        """Let another thread go on between two lines, as Python does."""
        thread = self.thread
        alive = thread is not None and not thread.owner.dead
        if event == "line" and alive and self.random.random() < self._switching / 10:
            self._to_hub(thread)
        return self._trace_line

    def _bury(self, thread: Thread) -> None:
        self.threads.remove(thread)
        for each in thread.joiners:
            self.wake(each)
        if thread.error is not None:
            raise thread.error

    def _let_time_pass(self, until: float) -> bool:
        """Go to the next moment for which a thread or an event waits; False if the time is over."""
        awake = [each for each in self.threads if not each.owner.frozen]
        times = [each.wake_at for each in awake if each.wake_at is not None]
        if self._outside:
            times.append(self._outside[0][0])
        later = [each for each in times if each > self.now]
        if not times or min(times) > until or (not later and self._same_time >= STUCK_AFTER):
            if any(each.ready for each in awake) and self.now < until:
                self._advance(min(self.now + 0.01, until))
                return True
            self._advance(max(self.now, until))
            return False
        self._advance(min(times))
        return True

    def _advance(self, to: float) -> None:
        if to > self.now:
            self._same_time = 0
        self.now = max(self.now, to)
        for each in self.threads:
            if each.wake_at is not None and each.wake_at <= self.now:
                self.wake(each)

    # ------------------------------------------------------------------ death

    def kill(self, owner: Owner) -> None:
        """End every thread of a process at the point it has reached; called between two turns."""
        owner.dead = True
        dying = [each for each in self.threads if each.owner is owner]
        self.threads = [each for each in self.threads if each.owner is not owner]
        for each in dying:
            self.thread = each
            for _ in range(20):  # again, if code caught the exception
                if each.current.dead:
                    break
                each.current.throw(GreenletExit)
        self.thread = None
        asyncio._set_running_loop(None)
