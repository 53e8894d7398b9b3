"""The experiments H1 to H4: jobs are handed over to Celery while something breaks.

They use real web processes, Redis and RabbitMQ. The messages are counted in the broker, by job id.
"""

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from celery import Celery

from afterword.store.opening import open_store
from chaos.findings import Finding
from chaos.lab import Lab
from tests.fleets.servers import RABBITMQ, Broker, rabbitmq_server, redis_server
from tests.helpers import Server, running, wait_until

LIMIT = 5.0  # seconds for which a broker may delay a request, another task or the shutdown
SLACK = 2.0


@dataclass(slots=True)
class Orders:
    """Requests of a few clients to a server, until the end of the block."""

    server: Server
    ids: list[str] = field(default_factory=list)  # of jobs in answered requests
    slowest: float = 0.0  # seconds that a request took
    refused: int = 0

    @contextmanager
    def coming(self, clients: int = 2) -> Iterator[None]:
        over = threading.Event()
        threads = [threading.Thread(target=self._order, args=(over,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _order(self, over: threading.Event) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                answer = httpx.post(self.server.url, timeout=60.0)
                self.ids += answer.json() if answer.status_code == 200 else []
            except httpx.HTTPError:
                self.refused += 1
                time.sleep(0.05)
            else:
                self.slowest = max(self.slowest, time.monotonic() - began)
                time.sleep(0.01)


def _server(lab: Lab, broker: Broker) -> Server:
    environment = {"FLEET_BROKER": broker.url, "FLEET_STORE": lab.url}
    return Server("chaos.fleet_app:app", lab.folder, environment=environment)


def _wait_until_all_ended(lab: Lab) -> None:
    store = open_store(lab.url)
    store.open()

    def unfinished() -> bool:
        return any(number for state, number in store.count().items() if not state.final)

    wait_until(lambda: not unfinished(), description="every job has ended", timeout=300, every=0.2)
    store.close()


def arrived(broker: Broker) -> Counter[str]:
    """Count the messages of each job, by its id."""
    found: Counter[str] = Counter()
    with Celery("count", broker=broker.url).connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        with suppress(queue.Empty):
            while True:
                message = queue.get(timeout=2.0)
                found[message.headers["id"]] += 1
                message.ack()
    return found


def _found(
    name: str, lab: Lab, question: str, orders: Orders, broker: Broker, limit: float | None
) -> Finding:
    _wait_until_all_ended(lab)
    messages = arrived(broker)
    lost = [job_id for job_id in orders.ids if not messages[job_id]]
    extra = sum(messages.values()) - len(messages)
    slowest = f"; the slowest request took {orders.slowest:.1f} s"
    return Finding(
        name=name,
        store=lab.kind,
        question=question,
        required="each arrives at least once, under the id of its job"
        + (f"; no request takes {limit:g} s" if limit else ""),
        measured=f"{len(orders.ids):,} jobs acknowledged, {len(lost)} lost, {extra} arrived more"
        f" than once, all under their ids{slowest if limit else ''}",
        passed=not lost and len(orders.ids) > 0 and (limit is None or orders.slowest < limit),
    )


def kill_while_handing_over(lab: Lab, times: int = 20) -> Finding:
    """H1: kill -9 web processes while they hand over to Redis."""
    dice = random.Random(1)
    with redis_server(_folder(lab)) as broker:
        server = _server(lab, broker)
        orders = Orders(server)
        with running(server), orders.coming():
            for _ in range(times):
                time.sleep(dice.uniform(0.3, 1.0))
                server.kill()
                server.start()
            time.sleep(0.5)
        with running(_server(lab, broker)):
            question = f"kill -9 a web process that hands over to Celery on Redis, {times} times"
            return _found("H1", lab, question, orders, broker, None)


def freeze_the_broker(lab: Lab, seconds: float = 20.0) -> Finding:
    """H2: the broker does not answer; requests, other tasks and the shutdown go on."""
    with redis_server(_folder(lab)) as broker:
        server = _server(lab, broker)
        orders = Orders(server)
        with running(server):
            with orders.coming():
                time.sleep(2.0)
                broker.freeze()
                time.sleep(seconds)
                own = _seconds_of_our_own_task(lab, server)
            began = time.monotonic()
            server.stop()
            stopped = time.monotonic() - began
            broker.thaw()
            server.start()
            finding = _found("H2", lab, "", orders, broker, LIMIT)
    limit = LIMIT + SLACK
    return Finding(
        name="H2",
        store=lab.kind,
        question=f"a broker to which tasks are handed over is stopped (SIGSTOP) for {seconds:g} s",
        required=f"{finding.required}, nor another task, nor the shutdown {limit:g} s",
        measured=f"{finding.measured}; a task of our own ended after {own:.1f} s, the server after"
        f" {stopped:.1f} s",
        passed=finding.passed and own < limit and stopped < limit,
    )


def _seconds_of_our_own_task(lab: Lab, server: Server) -> float:
    began = time.monotonic()
    (job_id,) = httpx.post(f"{server.url}/?own=1", timeout=60.0).json()
    store = open_store(lab.url)
    store.open()
    wait_until(
        lambda: store.get([job_id])[0].state.final, description="our task has ended", timeout=120
    )
    store.close()
    return time.monotonic() - began


def restart_the_broker(lab: Lab, jobs: int = 1_000) -> Finding:
    """H3: the broker is killed and started again while a thousand jobs are handed over."""
    with redis_server(_folder(lab)) as broker:
        server = _server(lab, broker)
        orders = Orders(server)
        with running(server):
            with orders.coming():
                while len(orders.ids) < jobs:
                    time.sleep(2.0)
                    broker.stop()
                    time.sleep(1.0)
                    broker.start()
            question = f"Redis is killed and started again while {jobs:,} jobs are handed over"
            return _found("H3", lab, question, orders, broker, LIMIT)


def alarm_the_broker(lab: Lab, seconds: float = 10.0) -> Finding:
    """H4: RabbitMQ raises its memory alarm and takes no messages meanwhile."""
    folder = _folder(lab)
    with rabbitmq_server(folder) as broker:
        server = _server(lab, broker)
        orders = Orders(server)
        with running(server):
            with orders.coming():
                time.sleep(2.0)
                _set_memory_limit(broker, "0.000001")
                time.sleep(seconds)
                _set_memory_limit(broker, "0.6")
                time.sleep(1.0)
            question = f"RabbitMQ has its memory alarm on for {seconds:g} s under load"
            return _found("H4", lab, question, orders, broker, LIMIT)


def _set_memory_limit(broker: Broker, part: str) -> None:
    command = [str(RABBITMQ.with_name("rabbitmqctl")), "set_vm_memory_high_watermark", part]
    subprocess.run(command, env=broker.environment, check=True, capture_output=True)  # noqa: S603


def _folder(lab: Lab) -> Path:
    folder = lab.folder / "broker"
    folder.mkdir()
    return folder
