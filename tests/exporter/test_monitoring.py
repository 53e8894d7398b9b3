"""The alert rules and the Grafana dashboard: by name, by promtool, and by a real Prometheus.

`scripts/test` installs Prometheus; where it cannot, only the names are checked.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from afterword.exporter.application import exporter
from afterword.exporter.ended import EndedJobs
from afterword.exporter.gauges import Gauges
from afterword.exporter.prometheus import StoreCollector
from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed, Failed
from afterword.store.opening import open_store
from afterword.store.protocol import Declared, Settlement, Store
from tests.helpers import ROOT, free_port, wait_until

MONITORING = ROOT / "monitoring"
WORKER = "0123456789abcdef"
with_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed: apt install prometheus"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with objects of every kind."""
    store = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    store.join(WORKER, 60.0, ["default"], 4)
    store.add([NewJob(id=new_id(), task="m:f") for _ in range(3)])
    completed, failed = store.claim(WORKER, ["default"], 2)
    store.settle([Settlement(completed, Completed()), Settlement(failed, Failed("x"))])
    schedule = Declared(name="s", task="m:f", rule="* * * * *", words="", next_at=store.now())
    store.declare([schedule])
    yield store
    store.close()


def queries() -> list[str]:
    """Return the queries of the dashboard's panels, with the variables filled in."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [each.replace("$__rate_interval", "1m").replace("$job", ".*") for each in asked]


def test_only_metrics_that_exist_are_asked_for(store: Store) -> None:
    ended = EndedJobs(lambda: store, store.now)
    collector = StoreCollector(Gauges(lambda: store, store.now), ended, in_worker=True)
    known = {sample.name for metric in collector.collect() for sample in metric.samples}
    texts = [*queries(), (MONITORING / "alerts.yml").read_text()]
    asked = {name for text in texts for name in re.findall(r"afterword_[a-z_]+", text)}

    assert asked - known == set()
    assert known - asked <= {"afterword_queue_paused"}


@with_prometheus
def test_alerts_fire_when_they_should() -> None:
    command = ["promtool", "test", "rules", "alerts_test.yml"]
    ran = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)

    assert 0 == ran.returncode, ran.stdout + ran.stderr


# ---------------------------------------------------------------------- a real one


@contextmanager
def served(store: Store) -> Iterator[int]:
    """Serve the metrics of a store, in a thread."""
    gauges = Gauges(lambda: store, store.now)
    application = exporter(gauges, EndedJobs(lambda: store, store.now), in_worker=True)
    config = uvicorn.Config(application, port=0, log_level="warning", lifespan="off")
    listening = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[httpx.Client]:
    """Run a Prometheus that asks a target each second; yields a client of its API."""
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(MONITORING / "alerts.yml")],
        "scrape_configs": [
            {"job_name": "afterword", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
                yield client
        finally:
            process.terminate()


def values(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = client.get("/query", params={"query": query}).json()
    assert "success" == answer["status"], (query, answer)
    return list(answer["data"]["result"])


def _is_up(client: httpx.Client) -> bool:
    try:
        return [each["value"][1] for each in values(client, "up")] == ["1"]
    except (httpx.HTTPError, ValueError):
        return False


@with_prometheus
def test_a_real_prometheus_understands_all_of_it(store: Store, tmp_path: Path) -> None:
    """It scrapes the page, loads the rules, and answers each panel's query."""
    with served(store) as target, prometheus(tmp_path, target) as client:
        wait_until(lambda: _is_up(client), description="Prometheus has read the page")
        wait_until(
            lambda: values(client, "count_over_time(afterword_workers[1m]) > 2"),
            description="it has read it a few times, as rates need",
        )
        answers = {query: values(client, query) for query in queries()}
        [group] = client.get("/rules").json()["data"]["groups"]

    assert [] == [query for query, answer in answers.items() if not answer]
    assert {"ok"} == {rule["health"] for rule in group["rules"]}
