"""Dramatiq actors in `add_task`: stored, and handed over to their fleet."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend

from afterword import JobState, task
from afterword.errors import ArgumentError, ConfigurationError, NotStorable
from afterword.fleets.dramatiq import DramatiqTask
from afterword.fleets.recognition import remote_task
from tests.fleets import dramatiq_site
from tests.fleets.conftest import Ran
from tests.fleets.dramatiq_site import broker_of, note, waits
from tests.fleets.memory import take_queue, using
from tests.fleets.servers import Broker, worker
from tests.fleets.site import Fleet, post, serving_fleet
from tests.helpers import wait_until


def use(broker: Any) -> Iterator[None]:
    """Give the actors of this process another broker."""
    before = note.broker
    for actor in (note, waits):
        broker.declare_actor(actor)
        actor.broker = broker
    yield
    for actor in (note, waits):
        actor.broker = before


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A Dramatiq worker, and the actors of this process set to its broker."""
    broker: Broker = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("dramatiq")
    command = ("dramatiq", "tests.fleets.dramatiq_site", "-p", "1", "-t", "1")
    own = broker_of(broker.url)
    with worker(folder, *command, FLEET_BROKER=broker.url):
        yield from use(own)
    own.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, tasks=[dramatiq_site]) as site:
        yield site


@pytest.mark.usefixtures("fleet")
def test_actors_are_handed_over_under_the_id_of_their_job(site: Fleet, ran: Ran) -> None:
    ids = post(
        site,
        lambda tasks: tasks.add_task(note, ran.path),
        lambda tasks: tasks.add_task(note.send, ran.path, text="send"),
    )

    assert [JobState.HANDED_OVER] * 2 == site.states()
    wait_until(lambda: len(ran.lines) == 2, description="the fleet has run them", timeout=90)
    assert sorted([f"{ids[0]} hello", f"{ids[1]} send"]) == sorted(ran.lines)


def test_a_queue_that_cannot_be_used_holds_up_no_other(rabbitmq: Broker) -> None:
    with using(rabbitmq.url):
        take_queue("taken")
    broker = broker_of(rabbitmq.url)

    @dramatiq.actor(queue_name="taken", broker=broker)
    def misplaced() -> None: ...

    remote = DramatiqTask(misplaced)
    connection = remote.connect()
    with pytest.raises(ConnectionClosed) as refused:
        connection.send(remote, "0190", [], {})
    connection.close()
    broker.close()

    assert remote.is_of_call(refused.value)
    cut: Any = ConnectionClosed
    assert not remote.is_of_call(cut(OSError("cut")))


def test_what_cannot_be_sent_is_refused_in_the_route(site: Fleet) -> None:
    with pytest.raises(NotStorable, match="send_with_options"):
        post(site, lambda tasks: tasks.add_task(note.send_with_options, args=("a",)))
    with pytest.raises(ArgumentError, match="missing a required argument"):
        post(site, lambda tasks: tasks.add_task(note))  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="Dramatiq cannot encode"):
        post(site, lambda tasks: tasks.add_task(waits, timedelta(seconds=1)))
    with pytest.raises(ConfigurationError, match="workers of Dramatiq"):
        task(note, timeout=5)
    assert [] == site.jobs()


def test_the_result_backend_is_asked(site: Fleet) -> None:
    """It only knows whether there is a result."""
    remote = remote_task(note)
    assert remote is not None
    assert remote.ask("0190") is None

    results = StubBackend()
    broker = StubBroker()
    middleware: Any = Results
    broker.add_middleware(middleware(backend=results))
    using = use(broker)
    next(using)
    try:
        assert remote.ask("0190") is None
        for result, state in ((None, JobState.COMPLETED), (ValueError("no"), JobState.FAILED)):
            message = note.message("a").copy(message_id=str(state))
            if isinstance(result, Exception):
                results.store_exception(message, result, ttl=60_000)
            else:
                results.store_result(message, result, ttl=60_000)
            assert state is remote.ask(str(state))
    finally:
        next(using, None)


def test_rabbitmq_without_confirms_is_refused(site: Fleet) -> None:
    using = use(RabbitmqBroker(url="amqp://127.0.0.1:9"))
    next(using)
    try:
        with pytest.raises(ConfigurationError, match="confirm_delivery=True"):
            post(site, lambda tasks: tasks.add_task(note, "a"))
    finally:
        next(using, None)
    assert [] == site.jobs()
