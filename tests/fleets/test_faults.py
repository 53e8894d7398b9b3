"""Faults of brokers: silent, down or restarted, they neither lose jobs nor delay others."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
import rq

from afterword import JobState, task
from afterword.fleets.remote import SEND_WITHIN
from afterword.store.opening import open_store
from tests.fleets import celery_site, rq_site
from tests.fleets.celery_site import append, note
from tests.fleets.conftest import Ran
from tests.fleets.memory import using
from tests.fleets.servers import Broker
from tests.fleets.site import PATIENCE, Fleet, post, serving_fleet
from tests.helpers import wait_until

MANY = 100
SLACK = 30.0  # seconds; for a busy machine, but less than ten waiting calls take


@pytest.fixture
def broker(redis: Broker) -> Iterator[Broker]:
    """A broker of Celery and RQ, without workers; its messages are counted in Redis."""
    client = redis_client.Redis.from_url(redis.url)
    client.flushall()
    client.close()
    with using(redis.url):
        yield redis


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, tasks=[celery_site, rq_site]) as site:
        yield site


def arrived(broker: Broker) -> int:
    with redis_client.Redis.from_url(broker.url) as client:
        return int(client.llen("celery")) + int(client.llen("rq:queue:mail"))


def test_a_silent_broker_holds_up_no_request_no_task_and_no_shutdown(
    broker: Broker, tmp_path: Path, ran: Ran
) -> None:
    with redis_client.Redis.from_url(broker.url) as client:
        queued = task(rq_site.note, via=rq.Queue("mail", connection=client))
        with serving_fleet(tmp_path, tasks=[celery_site, rq_site]) as site:
            post(site, lambda tasks: tasks.add_task(note, ran.path))  # connects
            site.states()
            broker.freeze()
            try:
                began = time.monotonic()
                for _ in range(20):
                    post(site, lambda tasks: tasks.add_task(note, ran.path))
                    post(site, lambda tasks: tasks.add_task(queued, ran.path))
                post(site, lambda tasks: tasks.add_task(append, ran.path, "ours"))
                wait_until(lambda: ran.lines == ["ours"], description="our own task")
                assert time.monotonic() - began < SEND_WITHIN + SLACK
                began = time.monotonic()
                site.client.__exit__()
                assert time.monotonic() - began < SEND_WITHIN + SLACK
            finally:
                broker.thaw()
                site.client.__enter__()
            assert {JobState.HANDED_OVER, JobState.COMPLETED} == set(site.states())

    assert arrived(broker) >= 41  # messages sent to a silent broker may arrive, so some twice


def test_a_broker_that_was_down_gets_everything(broker: Broker, site: Fleet, ran: Ran) -> None:
    broker.stop()
    began = time.monotonic()
    for _ in range(10):
        post(site, lambda tasks: tasks.add_task(note, ran.path))
    assert time.monotonic() - began < SEND_WITHIN + SLACK

    def have_failed() -> bool:
        return any(job.failures for job in site.jobs())

    wait_until(have_failed, description="an attempt has failed", timeout=PATIENCE)
    assert {JobState.HANDED_OVER} ^ {job.state for job in site.jobs()}
    broker.start()

    assert [JobState.HANDED_OVER] * 10 == site.states()
    assert arrived(broker) >= 10


def test_a_restart_amid_many_loses_none(broker: Broker, site: Fleet, ran: Ran) -> None:
    for number in range(MANY):
        post(site, lambda tasks: tasks.add_task(note, ran.path))
        if number == MANY // 2:
            broker.stop()
            broker.start()

    assert [JobState.HANDED_OVER] * MANY == site.states()
    assert arrived(broker) >= MANY


def test_a_worker_that_died_with_it_is_followed_by_one_that_sends_the_same_id(
    broker: Broker, tmp_path: Path, ran: Ran
) -> None:
    with serving_fleet(tmp_path, tasks=[celery_site], queues=["another"]) as site:
        (job_id,) = post(site, lambda tasks: tasks.add_task(note, ran.path))
    store = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    store.join("ghost", 3600.0)
    assert [job_id] == [claim.id for claim in store.claim("ghost", ["default"], 1)]
    store.leave("ghost")  # before or after it has sent the job, which cannot be known
    store.close()

    with serving_fleet(tmp_path, tasks=[celery_site]) as site:
        assert [JobState.HANDED_OVER] == site.states()
        (job,) = site.jobs()

    assert (2, 1) == (job.attempt, job.lost)
    with redis_client.Redis.from_url(broker.url) as client:
        message = client.lrange("celery", 0, -1)[0]
    assert f'"id": "{job_id}"'.encode() in message
