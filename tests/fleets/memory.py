"""Brokers: Celery's in the memory of this process, its published messages, and others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.entity import Queue

from tests.fleets.celery_site import app


@contextmanager
def using(url: str) -> Iterator[None]:
    """Let Celery use another broker for a while."""
    before = app.conf.broker_url
    app.conf.broker_url = url
    try:
        yield
    finally:
        app.conf.broker_url = before


@contextmanager
def in_memory() -> Iterator[None]:
    """Let Celery use an empty broker in memory."""
    with using("memory://"):
        published()
        yield


def published() -> list[str]:
    """Return the ids of the messages in the queue, and empty it."""
    return [message.headers["id"] for message in _taken()]


def headers(*names: str) -> list[tuple[Any, ...]]:
    """Return these headers of the messages in the queue, and empty it."""
    return [tuple(message.headers[name] for name in names) for message in _taken()]


def messages() -> list[Any]:
    """Return the bodies of the messages in the queue, and empty it."""
    return [message.decode() for message in _taken()]


def _taken() -> list[Any]:
    found: list[Any] = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        while True:
            try:
                message = queue.get(block=False)
            except queue.Empty:
                return found
            message.ack()
            found.append(message)


def take_queue(name: str) -> None:
    """Declare a queue with other arguments than those of Celery and Dramatiq."""
    with app.connection_for_write() as connection:
        declared: Any = Queue
        queue = declared(name, queue_arguments={"x-max-length": 9})
        queue(connection.channel()).declare()
