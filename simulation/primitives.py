"""Stand-ins for `threading`, `queue`, `time` and `secrets` in the code under simulation.

`install` imports afterword with these in place of the real modules. While no world runs (during
imports), they pass everything on to the real ones.
"""

import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from simulation.world import Thread as WorldThread
from simulation.world import World


class _Waiting:
    """Threads that wait for a condition."""

    def __init__(self) -> None:
        self._threads: deque[WorldThread] = deque()

    def until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for the condition; False if the timeout came first."""
        world = _world()
        deadline = None if timeout is None or timeout < 0 else world.now + timeout
        while not condition():
            if deadline is not None and world.now >= deadline:
                return False
            if world.thread is None:
                raise RuntimeError("The outside must not wait for threads.")
            self._threads.append(world.thread)
            world.wait(deadline)
        return True

    def wake(self) -> None:
        """Let all of them check their condition again."""
        world = _world()
        while self._threads:
            world.wake(self._threads.popleft())


def _world() -> World:
    if World.current is None:
        raise RuntimeError("There is no world that runs.")
    return World.current


class _Lock:
    """Stand-in for threading.Lock; with `again`, for threading.RLock."""

    def __init__(self, again: bool = False) -> None:
        self._again = again
        self._owner: object = None
        self._depth = 0
        self._waiting = _Waiting()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the real one's."""
        world = _world()
        world.pause()
        me: object = world.thread or world
        if self._again and self._owner is me:
            self._depth += 1
            return True
        if not blocking and self._depth:
            return False
        if self._depth and not self._waiting.until(lambda: not self._depth, timeout):
            return False
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        """As the real one's."""
        if not self._depth:
            raise RuntimeError("release unlocked lock")
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._waiting.wake()

    def locked(self) -> bool:
        """As the real one's."""
        return self._depth > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
        _world().pause()


class _Event:
    def __init__(self) -> None:
        self._set = False
        self._waiting = _Waiting()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._waiting.wake()
        _world().pause()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        _world().pause()
        return self._waiting.until(self.is_set, timeout)


class _Semaphore:
    def __init__(self, value: int = 1) -> None:
        self._value = value
        self._waiting = _Waiting()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        _world().pause()
        if not self._value and not blocking:
            return False
        if not self._waiting.until(lambda: self._value > 0, timeout):
            return False
        self._value -= 1
        return True

    def release(self, n: int = 1) -> None:
        self._value += n
        self._waiting.wake()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Condition:
    def __init__(self, lock: _Lock | None = None) -> None:
        self._lock = lock or _Lock(again=True)
        self._calls = 0
        self._waiting = _Waiting()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        calls, depth, owner = self._calls, self._lock._depth, self._lock._owner
        self._lock._depth, self._lock._owner = 0, None
        self._lock._waiting.wake()
        told = self._waiting.until(lambda: self._calls > calls, timeout)
        self._lock._waiting.until(lambda: not self._lock._depth, None)
        self._lock._depth, self._lock._owner = depth, owner
        return told

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        world = _world()
        deadline = None if timeout is None else world.now + timeout
        while not (met := predicate()):
            left = None if deadline is None else deadline - world.now
            if left is not None and left <= 0:
                return met
            self.wait(left)
        return met

    def notify(self, n: int = 1) -> None:
        self.notify_all()  # each waiter checks its own condition again

    def notify_all(self) -> None:
        self._calls += 1
        self._waiting.wake()


class _Queue:
    """Stand-in for queue.SimpleQueue and queue.Queue."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting = _Waiting()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        world = _world()
        world.pause()
        self._items.append(item)
        self._waiting.wake()
        world.pause()

    put_nowait = put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        _world().pause()
        if not block:
            return self.get_nowait()
        if not self._waiting.until(lambda: bool(self._items), timeout):
            raise queue.Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class _Thread:
    """Stand-in for threading.Thread; belongs to the process that starts it."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._call = lambda: target(*args, **(kwargs or {})) if target else None
        self.name = (name or "thread").removeprefix("afterword-")
        self.daemon = daemon
        self._thread: WorldThread | None = None

    def start(self) -> None:
        """Start as a thread of the process whose turn it is."""
        world = _world()
        if world.thread is None:
            raise RuntimeError("The outside has no threads of its own.")
        self._thread = world.spawn(self._call, self.name, world.thread.owner)
        world.pause()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        world, thread = _world(), self._thread
        if thread is None or world.thread is None:
            return
        deadline = None if timeout is None else world.now + timeout
        while not thread.ended and (deadline is None or world.now < deadline):
            thread.joiners.append(world.thread)
            world.wait(deadline)

    def is_alive(self) -> bool:
        """True if it has begun and not ended."""
        return self._thread is not None and not self._thread.ended


class _Local:
    """Stand-in for threading.local."""

    def __init__(self) -> None:
        object.__setattr__(self, "_of", {})

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_of")[_ident(), name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        object.__getattribute__(self, "_of")[_ident(), name] = value


def _ident() -> int:
    world = World.current
    return world.thread.number if world is not None and world.thread is not None else 0


def _now() -> float:
    return _world().now


def _wall() -> float:
    world = _world()
    skew = world.thread.owner.skew if world.thread is not None else 0.0
    return world.now + world.wall_is_ahead + skew


def _tokens(nbytes: int = 32) -> str:
    return f"{_world().random.getrandbits(8 * nbytes):0{2 * nbytes}x}"


class Stand(ModuleType):
    """A stand-in for a module: simulated while a world runs, otherwise the real one.

    Args:
        kept: names that modules bind on import (`default_factory=threading.Lock`); each call of one
        decides anew between the real and the simulated type.
    """

    def __init__(
        self, real: ModuleType, simulated: dict[str, Any], kept: Sequence[str] = ()
    ) -> None:
        super().__init__(real.__name__)
        self._real, self._simulated = real, simulated
        self._kept = {name: _either(getattr(real, name), simulated[name]) for name in kept}

    def __getattr__(self, name: str) -> Any:
        if World.current is not None and name in self._simulated:
            return self._simulated[name]
        return self._kept.get(name) or getattr(self._real, name)


def _either(real: Any, simulated: Any) -> type:
    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        make = real if World.current is None else simulated
        return make(*args, **kwargs)

    return type(simulated.__name__, (), {"__new__": new})  # a type, because annotations use it


_MAIN = object()  # no simulated thread is the main one, so none installs signal handlers

STANDS = {
    "threading": Stand(
        threading,
        {
            "Lock": _Lock,
            "RLock": lambda: _Lock(again=True),
            "Event": _Event,
            "Semaphore": _Semaphore,
            "Condition": _Condition,
            "Thread": _Thread,
            "local": _Local,
            "get_ident": _ident,
            "current_thread": lambda: _world().thread,
            "main_thread": lambda: _MAIN,
        },
        kept=("Lock", "RLock", "Event", "Semaphore", "Condition"),
    ),
    "queue": Stand(queue, {"SimpleQueue": _Queue, "Queue": _Queue}),
    "time": Stand(
        time,
        {
            "time": _wall,
            "time_ns": lambda: int(_wall() * 1e9),
            "monotonic": _now,
            "perf_counter": _now,
            "sleep": lambda seconds: _world().sleep(seconds),
        },
    ),
    "secrets": Stand(secrets, {"token_hex": _tokens}),
}
