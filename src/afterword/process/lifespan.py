"""An ASGI application's lifespan, driven as a server drives it: start-up, and later shutdown.

`afterword worker` has no server, but tasks need the objects that the application creates at its
start: pools, clients, `state`.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message

from afterword.errors import AfterwordError


class LifespanFailed(AfterwordError, RuntimeError):
    """The application could not start or shut down."""


class Lifespan:
    """One run of an application's lifespan, in the running event loop.

    Args:
        app: the application as a server would serve it, including middleware around it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Run the application's start-up.

        Raises:
            LifespanFailed: the application reported a failure, or ended; its exception is the
                cause.
            AfterwordError: raised by Afterword itself, for instance by the store.
        """
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        run = self._app(scope, self._events.get, self._answers.put)
        self._task = asyncio.ensure_future(run)
        await self._pass("startup")

    async def shutdown(self) -> None:
        """Run the application's shutdown; raises as `startup` does."""
        await self._pass("shutdown")
        await asyncio.wait([self._task])

    async def cancel(self) -> None:
        """Cancel a start-up that is under way, and wait until the application has cleaned up."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _pass(self, phase: str) -> None:
        """Send the event of a phase to the application, and wait for its answer."""
        await self._events.put({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and answer.result()["type"] == f"lifespan.{phase}.complete":
            return
        message = str(answer.result().get("message", "")) if answer.done() else ""
        answer.cancel()
        await asyncio.wait([self._task])
        raise self._failure(phase, message)

    def _failure(self, phase: str, message: str) -> BaseException:
        error = None if self._task.cancelled() else self._task.exception()
        if isinstance(error, AfterwordError):
            return error
        failure = LifespanFailed(
            f"The application's {phase} failed: {message.strip() or error or 'its lifespan ended.'}"
        )
        failure.__cause__ = error
        return failure
