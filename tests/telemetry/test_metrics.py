"""Metrics of a process by OpenTelemetry, with a reader that keeps them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter, NoOpMeterProvider, _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from afterword import telemetry
from afterword.store.protocol import Claim
from afterword.telemetry import metrics
from tests.at_work import ended, wait_for
from tests.life.site import fail, note, script, working

pytestmark = pytest.mark.anyio

OF_NOTE = {"afterword.task": "tests.life.site:note", "afterword.queue": "default"}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """A reader of the global provider, which a program can set only once."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(_internal, "_METER_PROVIDER", provider)
    yield reader
    provider.shutdown()


def points(reader: InMemoryMetricReader) -> Mapping[str, list[Any]]:
    """Return the data points by the name of their instrument."""
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def counted(reader: InMemoryMetricReader) -> int:
    """Return the number of counted attempts."""
    return sum(point.value for point in points(reader).get("afterword.jobs", ()))


async def test_attempts_are_counted_and_measured(
    store_url: str, reader: InMemoryMetricReader
) -> None:
    async with working(store_url, concurrency=7) as afterword:
        for job in (await afterword.add_task(note, "a"), await afterword.add_task(fail, "b")):
            await ended(afterword, job)
        found = points(reader)
    outcomes = {
        (each.attributes["afterword.task"].partition(":")[2], each.attributes["afterword.outcome"])
        for each in found["afterword.jobs"]
    }
    [ran] = [p for p in found["afterword.run.duration"] if p.attributes == OF_NOTE]
    [waited] = found["afterword.wait.duration"]

    assert {("note", "completed"), ("fail", "failed")} == outcomes
    assert (1, 2) == (ran.count, waited.count)
    assert {"afterword.queue": "default"} == waited.attributes
    assert 0 <= waited.sum < 20
    assert [7] == [point.value for point in found["afterword.slots"]]
    assert [1] == [point.value for point in found["afterword.workers"]]


async def test_queues_and_schedules_are_read_when_an_exporter_asks(
    store_url: str, reader: InMemoryMetricReader
) -> None:
    with script(store_url) as other:
        await other.options(queue="mail").add_task(note, "a")
        async with working(store_url) as afterword:
            found = points(reader)
        afterwards = points(reader)
    depth = {
        (point.attributes["afterword.queue"], point.attributes["afterword.state"]): point.value
        for point in found["afterword.queue.jobs"]
    }
    [oldest] = found["afterword.queue.oldest"]

    assert (1, 0) == (depth["mail", "due"], depth["mail", "running"])
    assert 0 <= oldest.value < 20
    assert "afterword.queue.jobs" not in afterwards  # of a store that this process has left
    assert not afterword.started


def test_refused_outcomes_and_lost_leases_are_counted(reader: InMemoryMetricReader) -> None:
    before = (metrics.totals.outcomes_refused, metrics.totals.leases_lost)
    telemetry.lost_lease(Claim("id", 1, "worker", "m:f", "{}", 0.0))
    metrics.lost_lease()
    found = points(reader)

    assert [1] == [point.value for point in found["afterword.outcomes.refused"]]
    assert [1] == [point.value for point in found["afterword.leases.lost"]]
    assert (1, 1) == (
        metrics.totals.outcomes_refused - before[0],
        metrics.totals.leases_lost - before[1],
    )


class _Raising(NoOpMeterProvider):
    """A provider of the application whose counters raise."""

    def get_meter(self, *_: Any, **__: Any) -> Any:
        return _RaisingMeter("raising")


class _RaisingMeter(NoOpMeter):
    def create_counter(self, *_: Any, **__: Any) -> Any:
        return self

    def add(self, *_: Any, **__: Any) -> None:
        raise OSError("no collector")


async def test_a_meter_that_raises_loses_no_failure(
    store_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Attempts are counted in the store's thread, with their outcomes."""
    monkeypatch.setattr(_internal, "_METER_PROVIDER", _Raising())
    told: list[str] = []

    async def tell(job: Any, error: object, attempt: int) -> None:
        told.append(job.id)

    async with working(store_url) as afterword:
        afterword.on_failure(tell)
        for task, text in ((note, "a"), (fail, "b"), (fail, "c")):
            await ended(afterword, await afterword.add_task(task, text))
        await wait_for(lambda: len(told) == 2, description="both failures are told")
        telemetry.lost_lease(Claim("id", 1, "worker", "m:f", "{}", 0.0))
        metrics.lost_lease()
    lines = [each for each in caplog.messages if each.startswith("metrics_failed")]

    assert ["metrics_failed: attempts are not counted: OSError: no collector"] == lines
