"""RQ: a function and its queue, `task(func, via=queue)`.

If RQ has a job with this id, it was handed over before: RQ refuses it, which counts as success.
"""

import copy
import inspect
from collections.abc import Hashable
from typing import Any

from afterword.errors import ConfigurationError, NotStorable
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

_STATES = {
    "finished": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "stopped": JobState.CANCELLED,
    "canceled": JobState.CANCELLED,
    "started": JobState.RUNNING,
}


def via(target: Function | str, queue: Any) -> RemoteTask | None:
    """Return the task that goes through an RQ queue; None: this is no RQ queue.

    Raises:
        ConfigurationError: RQ is older than 2.8, and would run a job twice that is sent twice.
    """
    if not is_a(queue, "rq.queue", "Queue"):
        return None
    if "unique" not in inspect.signature(type(queue).enqueue_call).parameters:
        raise ConfigurationError(
            "Handing over to RQ needs RQ 2.8 or newer, which refuses a job that it has already."
            ' Run: pip install "rq>=2.8"'
        )
    return RQTask(target, queue)


def is_delay(func: Any) -> bool:
    """Return True for the `delay` that `@job` gives a function; it bears that function's name."""
    return getattr(func, "__globals__", {}).get("__name__") == "rq.decorators"


def refuse_delay(func: Any) -> None:
    """Refuse the `delay` of a function that RQ's `@job` has decorated.

    Raises:
        NotStorable: it would publish from the request, unprotected.
    """
    if is_delay(func):
        name = func.__name__
        raise NotStorable(
            f"The delay of an RQ job would publish from the request, and lose the job if Redis is"
            f" away. Name its queue once, and add the function:\n"
            f"    background_tasks.add_task({name}.delay, x)  # incorrect!\n"
            f"    task({name}, via=queue); background_tasks.add_task({name}, x)  # correct!"
        )


class RQTask(RemoteTask):
    """A function for a queue of RQ.

    Args:
        target: the function, or its dotted path if only the workers have it.
        queue: its name, its settings and its connection's settings are used.
    """

    system = "RQ"

    def __init__(self, target: Function | str, queue: Any) -> None:
        self.target, self.queue = target, queue

    @property
    def name(self) -> str:
        """The name of the function, or the path that was given."""
        return name_of(self.target)

    @property
    def path(self) -> str:
        """The dotted path by which RQ's workers import it; `__main__` is no module of theirs."""
        return self.name.replace(":", ".")

    @property
    def func(self) -> Function:
        """The function; for a path, one that takes anything."""
        return unbound if isinstance(self.target, str) else self.target

    @property
    def fleet(self) -> Hashable:
        """Its queue."""
        return ("rq", id(self.queue))

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Encode them as RQ will."""
        try:
            self.queue.serializer.dumps((self.path, None, args, kwargs))
        except Exception as error:
            raise refuse_arguments(self, error) from None

    def connect(self) -> Connection:
        """Connect to the queue's Redis, with limits."""
        return RQConnection(self.queue)

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask RQ; None if it does not have the job (any more)."""
        connection = RQConnection(self.queue)
        try:
            found = connection.fetch(fleet_id)
        except imported("rq.exceptions", "NoSuchJobError"):
            return None
        finally:
            connection.close()
        return _STATES.get(str(found.get_status(refresh=False).value), JobState.QUEUED)


class RQConnection:
    """A copy of the queue with a client of our own, which gives up after a while."""

    def __init__(self, queue: Any) -> None:
        self._client = _client_like(queue.connection)
        self._is_own = self._client is not queue.connection
        self._queue = copy.copy(queue)
        self._queue.connection = self._client

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Enqueue a job with this id, unless RQ has it."""
        try:
            self._queue.enqueue_call(
                task.path, args=tuple(args), kwargs=dict(kwargs), job_id=fleet_id, unique=True
            )
        except imported("rq.exceptions", "DuplicateJobError"):
            pass  # an earlier attempt has sent it

    def fetch(self, fleet_id: str) -> Any:
        """Return the job of RQ with this id."""
        queue = self._queue
        return queue.job_class.fetch(fleet_id, self._client, serializer=queue.serializer)

    def close(self) -> None:
        """Close our client; that of the application serves others, too."""
        if self._is_own:
            self._client.close()


def _client_like(client: Any) -> Any:
    """Make a Redis client with the same settings, whose calls end."""
    pool = client.connection_pool
    if type(pool).__name__ not in ("ConnectionPool", "BlockingConnectionPool"):
        return client  # of Sentinel, say: the sender's own limit has to do
    retry, no_backoff = imported("redis.retry", "Retry"), imported("redis.backoff", "NoBackoff")
    limits = {"socket_timeout": ANSWER_WITHIN, "socket_connect_timeout": ANSWER_WITHIN}
    settings = {**pool.connection_kwargs, **limits, "retry": retry(no_backoff(), 0)}
    own = imported("redis.connection", "ConnectionPool")
    return type(client)(connection_pool=own(connection_class=pool.connection_class, **settings))
