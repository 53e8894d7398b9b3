"""An event loop that runs in a simulated thread, on the world's time.

It calls its callbacks in asyncio's order: first come, first served, and timers behind what was
there when they became due. That order is a promise that programs may rely on, so the seed leaves it
alone. What no program may rely on is when other threads' calls come in between, how long a callback
takes, and when something arrives from outside: that is the seed's.
"""

import asyncio
import contextvars
import functools
import heapq
from collections.abc import Callable
from typing import Any

from simulation.world import World


class SimulatedLoop(asyncio.BaseEventLoop):
    """Run by `run_in_thread`, in a thread of the world."""

    # Of asyncio's own loop, as all versions since 3.8 have them.
    _ready: Any
    _scheduled: Any
    _stopping: bool
    _timer_cancelled_count: int
    _thread_id: int | None

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._thread: Any = None
        self._ended = False
        self.errors: list[str] = []
        self.set_exception_handler(self._note_error)

    def _note_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}: {error!r}")

    def time(self) -> float:
        """The world's monotonic time."""
        return self._world.now

    def _write_to_self(self) -> None:
        if self._thread is not None:
            self._world.wake(self._thread)

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As asyncio's; the threads may take turns before and after it."""
        self._world.pause()
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._world.pause()
        return handle

    def arrive(self, callback: Callable[..., object], *args: Any) -> None:
        """Something comes from outside, as a readable socket does; called between two turns."""
        if not self.is_closed():
            self._ready.append(asyncio.Handle(callback, args, self, contextvars.Context()))
            self._write_to_self()

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call in a thread of its own."""
        world = self._world
        assert world.thread is not None
        future = self.create_future()
        call = functools.partial(func, *args)
        world.spawn(lambda: self._call_in_thread(call, future), "executor", world.thread.owner)
        return future

    def _call_in_thread(self, call: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        self.call_soon_threadsafe(_resolve, future, result, error)

    # ------------------------------------------------------------------ running

    def run_in_thread(self) -> None:
        """Call callbacks until `stop`; in the thread that this loop is to have."""
        world = self._world
        self._thread = world.thread
        self._thread.loop = self
        self._thread_id = 1  # it is running: whoever asks a loop asks for that
        asyncio._set_running_loop(self)
        while not self._stopping:
            self._wait_for_work()
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle._cancelled:
                    handle._run()
                world.pause()
        self._thread.loop = None
        self._thread_id = None
        asyncio._set_running_loop(None)

    def _wait_for_work(self) -> None:
        while True:
            self._take_due()
            if self._ready or self._stopping:
                return
            self._world.wait(self._scheduled[0]._when if self._scheduled else None)

    def _take_due(self) -> None:
        scheduled, now = self._scheduled, self._world.now
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= now):
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)
            else:
                self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)


def _resolve(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
