"""Functions with `task(func, via=queue)` are handed over to RQ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import rq
from redis import Redis

from afterword import JobState, task
from afterword.errors import ArgumentError, ConfigurationError, NotStorable
from afterword.fleets.recognition import remote_task
from tests.fleets import rq_site
from tests.fleets.conftest import Ran
from tests.fleets.servers import Broker, worker
from tests.fleets.site import Fleet, post, serving_fleet
from tests.helpers import wait_until


@pytest.fixture(scope="module")
def queue(redis: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rq.Queue]:
    """An RQ worker, and its queue."""
    client = _client(redis.url)
    queue = rq.Queue("mail", connection=client)
    folder = tmp_path_factory.mktemp("rq")
    command = ("rq.cli", "worker", "mail", "--url", redis.url, "-w", "rq.worker.SimpleWorker")
    with worker(folder, *command):
        yield queue
    client.close()


def _client(url: str) -> Any:
    return redis.Redis.from_url(url)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, tasks=[rq_site]) as site:
        yield site


def test_a_function_and_a_path_are_handed_over(queue: rq.Queue, site: Fleet, ran: Ran) -> None:
    task(rq_site.note, via=queue)
    hidden = task("tests.fleets.rq_site.hidden", via=queue)

    ids = post(
        site,
        lambda tasks: tasks.add_task(rq_site.note, ran.path, text="by function"),
        lambda tasks: tasks.add_task(hidden, ran.path),
    )

    assert [JobState.HANDED_OVER] * 2 == site.states()
    wait_until(lambda: len(ran.lines) == 2, description="the fleet has run them", timeout=90)
    assert sorted([f"{ids[0]} by function", "hidden"]) == sorted(ran.lines)


def test_the_same_id_twice_is_one_run_and_a_retry_by_a_person_another(
    queue: rq.Queue, site: Fleet, ran: Ran
) -> None:
    remote = remote_task(task(rq_site.note, via=queue))
    assert remote is not None
    connection = remote.connect()
    (job_id,) = post(site, lambda tasks: tasks.add_task(rq_site.note, ran.path))
    site.states()

    connection.send(remote, job_id, [ran.path], {})  # as after a crash before it was settled
    connection.close()
    site.afterword.runtime.store.retry([job_id])

    assert [JobState.HANDED_OVER] == site.states()
    wait_until(lambda: len(ran.lines) == 2, description="both runs", timeout=90)
    assert sorted([f"{job_id} hello", f"{job_id}-1 hello"]) == sorted(ran.lines)
    wait_until(
        lambda: remote.ask(job_id) is JobState.COMPLETED, description="RQ says that it has ended"
    )
    assert remote.ask("unknown") is None


def test_the_delay_of_a_decorated_function_is_refused(site: Fleet) -> None:
    delay: Any = getattr(rq_site.decorated, "delay")  # noqa: B009 - no type checker knows it
    with pytest.raises(NotStorable, match=r"task\(decorated, via=queue\)"):
        post(site, lambda tasks: tasks.add_task(delay, "x"))
    assert [] == site.jobs()


class Pool(redis.ConnectionPool):
    """A connection pool with its own rules, like Sentinel's."""

    disconnected = 0

    def disconnect(self, *args: Any, **options: Any) -> None:
        self.disconnected += 1
        super().disconnect(*args, **options)


def test_the_client_of_the_application_is_not_closed(redis: Broker) -> None:
    pool = Pool.from_url(redis.url)
    client = Redis.from_pool(pool)
    remote = remote_task(task(rq_site.note, via=rq.Queue("mail", connection=client)))
    assert remote is not None

    connection = remote.connect()
    connection.close()

    assert remote.ask("unknown") is None
    assert 0 == pool.disconnected
    client.close()


def test_a_queue_is_looked_at_in_the_route(site: Fleet) -> None:
    queue = rq.Queue("mail", connection=redis.Redis(port=9))
    task(rq_site.note, via=queue)

    with pytest.raises(ArgumentError, match="missing a required argument"):
        post(site, lambda tasks: tasks.add_task(rq_site.note))  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="workers of RQ"):
        task(rq_site.note, via=queue, retries=3)
    with pytest.raises(ConfigurationError, match="queue of RQ, or the RedisSettings") as told:
        task(rq_site.note, via="redis://:password@host")
    assert "password" not in str(told.value)
    assert [] == site.jobs()
