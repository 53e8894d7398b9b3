"""arq: a function or its name, and its Redis, `task("resize", via=RedisSettings(...))`.

If `via` is the class of its worker's settings, the queue and the serializer are taken from it, too.

If arq has a job with this id, it was handed over before. Its client is asynchronous, so the thread
that sends has an event loop of its own.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Hashable
from typing import Any

from afterword.errors import ArgumentError, ConfigurationError
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
    refuse_arguments,
    unbound,
)
from afterword.model.job import JobState

KEPT = 7 * 24 * 3600.0  # seconds for which a job may wait for a worker; arq's default is a day
_KEYWORD, _REST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
# Keywords of `ArqRedis.enqueue_job`, which no function can be given.
_TAKEN = {"function", "_job_id", "_queue_name", "_defer_until", "_defer_by", "_expires", "_job_try"}
_SERIALIZERS = ("job_serializer", "job_deserializer")
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
    if _is_redis(settings):
        return ArqTask(target, settings, None)
    redis = getattr(settings, "redis_settings", None)
    return ArqTask(target, redis, settings) if _is_redis(redis) else None


def _is_redis(settings: object) -> bool:
    return is_a(settings, "arq.connections", "RedisSettings")


class ArqTask(RemoteTask):
    """A function of arq.

    Args:
        target: the function, which takes arq's context first; or its name.
        settings: of its Redis.
        worker: the settings of its worker; None: the defaults of arq.
    """

    system = "arq"

    def __init__(self, target: Function | str, settings: Any, worker: Any) -> None:
        self.target, self.settings, self._worker = target, settings, worker
        self._func = unbound if isinstance(target, str) else _without_context(target)
        self._signature = inspect.signature(self._func)

    @property
    def options(self) -> dict[str, Any]:
        """The options of arq's pool that its worker has, too."""
        names = {"queue_name": "default_queue_name", **{name: name for name in _SERIALIZERS}}
        given = {new: getattr(self._worker, name, None) for name, new in names.items()}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def name(self) -> str:
        """The name of the function, or the one that was given."""
        return name_of(self.target)

    @property
    def function_name(self) -> str:
        """Its name in arq's workers."""
        return self.target if isinstance(self.target, str) else self.target.__qualname__

    @property
    def func(self) -> Function:
        """The function without its context; for a name, one that takes anything."""
        return self._func

    @property
    def fleet(self) -> Hashable:
        """Its Redis."""
        return ("arq", id(self.settings), id(self._worker))

    def placed(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Pass arguments by position if possible: arq's `enqueue_job` has its own keywords."""
        bound = self._signature.bind(*args, **kwargs)
        return bound.args, bound.kwargs

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Encode them as arq will."""
        args, kwargs = self.placed(args, kwargs)
        if taken := sorted(_TAKEN & kwargs.keys()):
            raise ArgumentError(
                f"{self.name} was added with the keyword {taken[0]}, which arq's enqueue_job takes"
                " for itself. Rename the parameter."
            )
        serializer = self.options.get("job_serializer")
        encode = imported("arq.jobs", "serialize_job")
        try:
            encode(self.function_name, tuple(args), dict(kwargs), None, 0, serializer=serializer)
        except Exception as error:
            raise refuse_arguments(self, error) from None

    def connect(self) -> Connection:
        """Connect to arq's Redis."""
        return ArqConnection(self)

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask arq; None if it does not have the job (any more)."""
        connection = ArqConnection(self)
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

    def __init__(self, task: ArqTask) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            create = imported("arq.connections", "create_pool")
            self._pool = self._run(create(task.settings, **task.options))
        except BaseException:
            self._loop.close()
            raise

    def _run(self, awaitable: Awaitable[Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, ANSWER_WITHIN))

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Enqueue a job with this id; None says that arq has it."""
        args, kwargs = task.placed(args, kwargs)
        sending = self._pool.enqueue_job(
            task.function_name, *args, _job_id=fleet_id, _expires=KEPT, **kwargs
        )
        self._run(sending)

    def state(self, fleet_id: str) -> JobState | None:
        """Return arq's record of a job."""
        pool = self._pool
        job = imported("arq.jobs", "Job")(
            fleet_id, pool, pool.default_queue_name, pool.job_deserializer
        )
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
