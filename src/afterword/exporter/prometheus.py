"""A store as a page for Prometheus."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from afterword.exporter.ended import Ended, EndedJobs, Key
from afterword.exporter.gauges import Gauges, counts_of
from afterword.model.counters import BOUNDS, Histogram, added_up
from afterword.telemetry.metrics import totals

# Every second of the store's bounds: from 1 ms to 18 hours, each four times the one before.
_BUCKETS = range(0, len(BOUNDS), 2)


class StoreCollector(Collector):
    """Collects the metrics of a store.

    Args:
        in_worker: also include the rare events of this process, which are not in the store.
    """

    def __init__(self, gauges: Gauges, ended: EndedJobs, *, in_worker: bool = False) -> None:
        self._gauges, self._ended, self._in_worker = gauges, ended, in_worker

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry need not read the store when the collector is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the store."""
        yield from _ended(self._ended.read())
        yield from self._queues()
        yield from self._workers()
        yield self._schedules()
        if self._in_worker:
            yield from _of_process()

    def _queues(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "afterword_queue_jobs", "Unfinished jobs of a queue.", labels=["queue", "state"]
        )
        oldest = GaugeMetricFamily(
            "afterword_queue_oldest_seconds",
            "Time for which the oldest due job of a queue has waited.",
            labels=["queue"],
        )
        paused = GaugeMetricFamily(
            "afterword_queue_paused", "1 if the queue is paused.", labels=["queue"]
        )
        for queue in self._gauges.queues():
            for state, count in counts_of(queue):
                jobs.add_metric([queue.name, state], count)
            oldest.add_metric([queue.name], self._gauges.age_of(queue))
            paused.add_metric([queue.name], int(queue.paused))
        yield from (jobs, oldest, paused)

    def _workers(self) -> Iterator[Metric]:
        workers = self._gauges.workers()
        slots, used = sum(each.concurrency for each in workers), sum(e.running for e in workers)
        yield GaugeMetricFamily("afterword_workers", "Workers that take jobs.", len(workers))
        yield GaugeMetricFamily("afterword_slots", "Attempts that the workers can run.", slots)
        yield GaugeMetricFamily("afterword_slots_used", "Jobs that the workers hold.", used)

    def _schedules(self) -> Metric:
        lag = GaugeMetricFamily(
            "afterword_schedule_lag_seconds",
            "Time for which a schedule has been due without having made its job.",
            labels=["schedule"],
        )
        for each in self._gauges.schedules():
            lag.add_metric([each.name], self._gauges.lag_of(each))
        return lag


def page(collector: StoreCollector, accept: str) -> tuple[bytes, str]:
    """Write the page, and return its content type, in the newest format that is accepted."""
    registry = CollectorRegistry()
    registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _ended(found: Mapping[Key, Ended]) -> Iterator[Metric]:
    jobs = CounterMetricFamily(
        "afterword_jobs", "Jobs that ended.", labels=["task", "queue", "outcome"]
    )
    for key, ended in sorted(found.items(), key=lambda pair: astuple(pair[0])):
        jobs.add_metric([key.task, key.queue, key.state.value], ended.jobs)
    yield jobs
    yield _histogram(
        "afterword_job_run_seconds",
        "How long the last attempts of jobs ran.",
        "task",
        [(key.task, ended.ran) for key, ended in found.items()],
    )
    yield _histogram(
        "afterword_job_wait_seconds",
        "Time from which the last attempts of jobs were due to their start.",
        "queue",
        [(key.queue, ended.waited) for key, ended in found.items()],
    )


def _histogram(
    name: str, text: str, label: str, lengths: list[tuple[str, Histogram]]
) -> HistogramMetricFamily:
    """Make a histogram; the store has buckets only, so there is no sum."""
    family = HistogramMetricFamily(name, text, labels=[label])
    for value in sorted({value for value, _ in lengths}):
        summed = added_up(histogram for each, histogram in lengths if each == value)
        buckets = [(f"{BOUNDS[at]:g}", float(_up_to(summed, at))) for at in _BUCKETS]
        family.add_metric([value], [*buckets, ("+Inf", float(summed.total))], None)
    return family


def _up_to(lengths: Histogram, bucket: int) -> int:
    return sum(count for at, count in lengths.buckets.items() if at <= bucket)


def _of_process() -> Iterator[Metric]:
    """Tell the events of this process, by its id: those of one server may answer in turn."""
    leases = CounterMetricFamily(
        "afterword_leases_lost",
        "Leases of this process that ended before they were renewed.",
        labels=["pid"],
    )
    outcomes = CounterMetricFamily(
        "afterword_outcomes_refused",
        "Outcomes of this process that came too late: another worker had the job.",
        labels=["pid"],
    )
    pid = [str(os.getpid())]
    leases.add_metric(pid, totals.leases_lost)
    outcomes.add_metric(pid, totals.outcomes_refused)
    yield from (leases, outcomes)
