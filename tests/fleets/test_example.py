"""The example with a Celery fleet, all real: Redis, uvicorn, and a Celery worker."""

from pathlib import Path

import httpx

from tests.fleets.servers import Broker, worker
from tests.helpers import ROOT, Server, running, wait_until


def test_the_example_hands_over_to_celery(redis: Broker, tmp_path: Path) -> None:
    url = redis.url.removesuffix("/0")
    environment = {
        "REDIS_URL": url,
        "PYTHONPATH": str(ROOT),
        "AFTERWORD_URL": f"sqlite:///{tmp_path / 'jobs.db'}",
    }
    command = ("celery", "--workdir", str(tmp_path), "-A", "examples.celery_fleet.celery", "worker")
    server = Server("examples.celery_fleet:app", tmp_path, environment=environment)
    with worker(tmp_path, *command, "-P", "solo", **environment), running(server):
        answer = httpx.post(f"{server.url}/orders/7", timeout=60)
        job = answer.json()

        def state() -> object:
            return httpx.get(f"{server.url}/jobs/{job['id']}", timeout=60).json()["state"]

        assert 202 == answer.status_code
        try:
            wait_until(lambda: state() == "completed", description="Celery says so")
        except AssertionError as error:
            log = (tmp_path / "worker.log").read_text()
            raise AssertionError(f"it is {state()}; the worker has logged: {log}") from error

    assert f"{job['id']} order 7\n" == (tmp_path / "receipts.txt").read_text()
