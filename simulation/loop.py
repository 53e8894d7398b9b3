"""An event loop that runs in a simulated thread, on the world's time.

It runs callbacks in asyncio's order: first in, first out, and timers behind the callbacks that were
ready when they became due. Programs may rely on that order, so the seed leaves it alone. The seed
decides what no program may rely on: when calls from other threads come in between, how long a
callback takes, and when something arrives from outside.
"""

import asyncio
import contextvars
import functools
import heapq
from collections.abc import Callable
from typing import Any

from simulation.world import World


class SimulatedLoop(asyncio.BaseEventLoop):
    """A loop that `run_in_thread` runs in a thread of the world."""

    # Private attributes of asyncio's own loop, the same in all versions since 3.8.
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
        """Return the world's monotonic time."""
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
        """Do as asyncio does; other threads may run before and after it."""
        self._world.pause()
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._world.pause()
        return handle

    def arrive(self, callback: Callable[..., object], *args: Any) -> None:
        """Queue a callback from outside, like a readable socket; called between two turns."""
        if not self.is_closed():
            self._ready.append(asyncio.Handle(callback, args, self, contextvars.Context()))
            self._write_to_self()

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call the function in a new thread."""
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
        """Run callbacks until `stop`; call it in the thread that shall run this loop."""
        world = self._world
        self._thread = world.thread
        self._thread.loop = self
        self._thread_id = 1  # `is_running()` looks at this
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
