"""Dramatiq: actors and their `send`, over the broker of the application.

Its RabbitMQ broker forgets messages when a connection is cut, unless it was made with
`confirm_delivery=True`; without that, nothing is added.
"""

import inspect
from collections.abc import Hashable
from typing import Any

from afterword.errors import ConfigurationError, NotStorable
from afterword.fleets.remote import (
    Args,
    Connection,
    Function,
    Kwargs,
    RemoteTask,
    imported,
    is_a,
    name_of,
    refuse_arguments,
)
from afterword.model.job import JobState


def recognise(func: object) -> RemoteTask | None:
    """Return the task behind an actor or its `send`.

    Raises:
        NotStorable: another method of an actor, or a message.
    """
    if is_a(func, "dramatiq.actor", "Actor"):
        return DramatiqTask(func)
    if is_a(func, "dramatiq.generic", "GenericActor"):  # its metaclass makes objects, not classes
        return DramatiqTask(vars(func)["__actor__"])
    if inspect.ismethod(func) and is_a(func.__self__, "dramatiq.actor", "Actor"):
        if func.__name__ == "send":
            return DramatiqTask(func.__self__)
        raise NotStorable(
            f"A Dramatiq actor is added by itself, but this is its method {func.__name__}.\n"
            f"    background_tasks.add_task(actor.{func.__name__}, ...)  # incorrect!\n"
            "    background_tasks.add_task(actor, x)  # correct!\n"
            "A delay: background_tasks.options(delay=60).add_task(actor, x). Other options belong"
            " to @dramatiq.actor(...)."
        )
    return None


class DramatiqTask(RemoteTask):
    """An actor.

    Args:
        actor: its broker is the fleet's.
    """

    system = "Dramatiq"

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    @property
    def name(self) -> str:
        """The name of its function, or of its class."""
        func = self.actor.fn
        return name_of(func if hasattr(func, "__qualname__") else type(func))

    @property
    def func(self) -> Function:
        """Its function; of a class, `perform`."""
        func: Function = self.actor.fn
        return getattr(func, "perform", func)

    @property
    def fleet(self) -> Hashable:
        """Its broker."""
        return ("dramatiq", id(self.actor.broker))

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Encode them as Dramatiq will.

        Raises:
            ConfigurationError: a RabbitMQ broker that does not confirm what it has.
        """
        _require_confirms(self.actor.broker)
        try:
            self.actor.message(*args, **kwargs).encode()
        except Exception as error:
            raise refuse_arguments(self, error) from None

    def connect(self) -> Connection:
        """Use the broker: it keeps a connection for each thread."""
        return DramatiqConnection(self.actor.broker)

    def is_of_call(self, error: BaseException) -> bool:
        """Return True also for a queue that RabbitMQ has, but with other arguments."""
        told = [each for each in error.args if isinstance(each, BaseException)]
        of_queue = any(is_a(each, "pika.exceptions", "ChannelClosedByBroker") for each in told)
        return of_queue or super().is_of_call(error)

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask the result backend, which has only results: COMPLETED or None."""
        backend = self.actor.options.get("result_backend") or _results_of(self.actor.broker)
        if backend is None:
            return None
        message = self.actor.message().copy(message_id=fleet_id)
        try:
            backend.get_result(message)
        except imported("dramatiq.results.errors", "ResultMissing"):
            return None
        except imported("dramatiq.results.errors", "ResultFailure"):
            return JobState.FAILED
        return JobState.COMPLETED


def _results_of(broker: Any) -> Any:
    for each in broker.middleware:
        if is_a(each, "dramatiq.results.middleware", "Results"):
            return each.backend
    return None


def _require_confirms(broker: Any) -> None:
    if is_a(broker, "dramatiq.brokers.rabbitmq", "RabbitmqBroker") and not broker.confirm_delivery:
        raise ConfigurationError(
            "A job counts as handed over once RabbitMQ has confirmed it, but this Dramatiq broker"
            " does not ask for that, and loses messages when its connection is cut.\n"
            "    RabbitmqBroker(url=...)  # incorrect!\n"
            "    RabbitmqBroker(url=..., confirm_delivery=True)  # correct!"
        )


class DramatiqConnection:
    """The broker's own connection of this thread."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Enqueue a message with this id; `message_with_options(message_id=)` would not set it."""
        _require_confirms(self._broker)
        message = task.actor.message(*args, **kwargs).copy(message_id=fleet_id)
        self._broker.enqueue(message)

    def close(self) -> None:
        """Drop this thread's connection to RabbitMQ; the Redis broker has a pool."""
        if is_a(self._broker, "dramatiq.brokers.rabbitmq", "RabbitmqBroker"):
            del self._broker.connection
