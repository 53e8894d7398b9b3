"""arq: a function or its name, and its Redis, `task("resize", via=RedisSettings(...))`.

A job whose id arq knows already was handed over before. Its client is asynchronous, so the thread
that sends has an event loop of its own.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Hashable
from typing import Any

from afterword.errors import ConfigurationError
from afterword.fleets.remote import (
    ANSWER_WITHIN,
    Args,
    Connection,
    Function,
    Kwargs,
    RemoteTask,
    imported,
    is_a,
    name_of,
    unbound,
)
from afterword.model.job import JobState

KEPT = 7 * 24 * 3600.0  # seconds for which a job may wait for a worker; arq's default is a day
_KEYWORD, _REST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
_STATES = {
    "deferred": JobState.QUEUED,
    "queued": JobState.QUEUED,
    "in_progress": JobState.RUNNING,
}


def via(target: Function | str, settings: object) -> RemoteTask | None:
    """Return the task that goes through arq; None: these are no settings of arq.

    Raises:
        ConfigurationError: a function that takes no context first.
    """
    if not is_a(settings, "arq.connections", "RedisSettings"):
        return None
    return ArqTask(target, settings)


class ArqTask(RemoteTask):
    """A function of arq.

    Args:
        target: the function, which takes arq's context first; or its name.
        settings: of its Redis.
    """

    system = "arq"

    def __init__(self, target: Function | str, settings: Any) -> None:
        self.target, self.settings = target, settings
        self._func = unbound if isinstance(target, str) else _without_context(target)

    @property
    def name(self) -> str:
        """The name of the function, or the one that was given."""
        return name_of(self.target)

    @property
    def function_name(self) -> str:
        """The name by which arq's workers know it."""
        return self.target if isinstance(self.target, str) else self.target.__qualname__

    @property
    def func(self) -> Function:
        """The function without its context; for a name, one that takes anything."""
        return self._func

    @property
    def fleet(self) -> Hashable:
        """Its Redis."""
        return ("arq", id(self.settings))

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Check nothing: arq pickles, and what our JSON can hold can be pickled."""

    def connect(self) -> Connection:
        """Connect to arq's Redis."""
        return ArqConnection(self.settings)

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask arq; a job that it does not know (any more) is None."""
        connection = ArqConnection(self.settings)
        try:
            return connection.state(fleet_id)
        finally:
            connection.close()


def _without_context(func: Function) -> Function:
    """Return a function with the same parameters but the first, which arq fills."""
    signature = inspect.signature(func)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind in (_KEYWORD, _REST):
        raise ConfigurationError(
            f"A function of arq takes its context first, but {func.__qualname__} takes {signature}."
            f"\n    async def {func.__name__}(ctx, ...): ...  # correct!"
        )

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> None: ...

    call.__signature__ = signature.replace(parameters=parameters[1:])  # type: ignore[attr-defined]
    return call


class ArqConnection:
    """A pool of arq, in an event loop of this thread."""

    def __init__(self, settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = self._run(imported("arq.connections", "create_pool")(settings))

    def _run(self, awaitable: Awaitable[Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, ANSWER_WITHIN))

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Enqueue a job with this id; None says that arq has it."""
        sending = self._pool.enqueue_job(
            task.function_name, *args, _job_id=fleet_id, _expires=KEPT, **kwargs
        )
        self._run(sending)

    def state(self, fleet_id: str) -> JobState | None:
        """Return what arq knows of a job."""
        job = imported("arq.jobs", "Job")(fleet_id, self._pool)
        status = str(self._run(job.status()).value)
        if status != "complete":
            return _STATES.get(status)
        result = self._run(job.result_info())
        return None if result is None else _ended(result.success)

    def close(self) -> None:
        """Close the pool and the event loop."""
        try:
            self._run(self._pool.aclose())
        finally:
            self._loop.close()


def _ended(success: bool) -> JobState:
    return JobState.COMPLETED if success else JobState.FAILED
