"""Dramatiq actors, imported by the tests and by their worker."""

import os
from datetime import timedelta
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import CurrentMessage

from tests.fleets.celery_site import append


def broker_of(url: str) -> Any:
    if url.startswith("redis"):
        return RedisBroker(url=url)  # type: ignore[no-untyped-call]
    return RabbitmqBroker(url=url, confirm_delivery=True) if url else StubBroker()


broker = broker_of(os.environ.get("FLEET_BROKER", ""))
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


@dramatiq.actor
def note(path: str, text: str = "hello") -> None:
    """Note the id of its message; the id makes a second run harmless."""
    message = CurrentMessage.get_current_message()
    append(path, f"{message.message_id if message else 'here'} {text}")


class Report(dramatiq.GenericActor):
    """An actor that is a class."""

    def perform(self, path: str) -> None:
        append(path, "report")


@dramatiq.actor
def waits(seconds: timedelta) -> None:
    """Never run: Dramatiq's JSON cannot hold its argument."""
