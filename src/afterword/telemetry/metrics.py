"""Metrics of this process, by OpenTelemetry.

    afterword.jobs                attempts that ended, by task, queue and outcome
    afterword.run.duration        how long they ran, in seconds, by task and queue
    afterword.wait.duration       from the time at which an attempt was due to its start, by queue
    afterword.outcomes.refused    outcomes that came too late: another worker had the job
    afterword.leases.lost         how often this worker's lease ended before it was renewed
    afterword.slots, .slots.used  of this worker
    afterword.queue.jobs, .queue.oldest, .schedule.lag, .workers    of the whole store

Nothing is imported or counted as long as no other code has set a provider, except two totals that
Prometheus also reads (`afterword.exporter`). Gauges of the store are read when an exporter asks for
them.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from afterword import telemetry
from afterword.telemetry.listeners import meters, want_metrics

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider, Observation

_BOUNDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)  # seconds

# Values of a gauge, with their attributes.
Values = Iterable[tuple[float, Mapping[str, str]]]


class Watched(Protocol):
    """A source of gauges, by their names; implemented by `exporter.gauges.Gauges`."""

    def read(self, name: str) -> Values:
        """Read one; in any thread."""


GAUGES = {  # by their names: the unit, and the description
    "afterword.slots": ("{slot}", "Attempts that this worker can run at the same time"),
    "afterword.slots.used": ("{slot}", "Attempts that this worker runs"),
    "afterword.workers": ("{worker}", "Workers that take jobs from the store"),
    "afterword.queue.jobs": ("{job}", "Unfinished jobs of a queue"),
    "afterword.queue.oldest": ("s", "Time for which the oldest due job of a queue has waited"),
    "afterword.schedule.lag": ("s", "Time for which a schedule has been due without a job"),
}


class Totals:
    """Rare events that this process always counts, for Prometheus."""

    def __init__(self) -> None:
        self.leases_lost = 0
        self.outcomes_refused = 0


totals = Totals()
_watched: WeakSet[Watched] = WeakSet()
_lock = threading.Lock()


def ended(task: str, queue: str, outcome: str, ran: float, waited: float | None) -> None:
    """Count an attempt that has ended."""

    def count(instruments: _Instruments) -> None:
        of_task = {"afterword.task": task, "afterword.queue": queue}
        instruments.jobs.add(1, {**of_task, "afterword.outcome": outcome})
        instruments.ran.record(ran, of_task)
        if waited is not None:
            instruments.waited.record(max(0.0, waited), {"afterword.queue": queue})

    _guarded(count)


def refused() -> None:
    """Count an outcome that the store has refused."""
    totals.outcomes_refused += 1
    if want_metrics():
        _guarded(lambda instruments: instruments.refused.add(1))


def lost_lease() -> None:
    """Count a lease that was lost."""
    totals.leases_lost += 1
    if want_metrics():
        _guarded(lambda instruments: instruments.lost.add(1))


def watch(source: Watched) -> None:
    """Read the gauges of this source, too, for as long as it exists."""
    _watched.add(source)
    observe()


def observe() -> None:
    """Begin to offer gauges, if a provider is set; with the first event at the latest."""
    if want_metrics():
        _guarded(id)


class _Instruments:
    """The instruments of one provider."""

    def __init__(self, provider: "MeterProvider") -> None:
        self.provider = provider
        meter = provider.get_meter("afterword")

        def durations(name: str, description: str) -> Any:
            return meter.create_histogram(
                name,
                unit="s",
                description=description,
                explicit_bucket_boundaries_advisory=_BOUNDS,
            )

        def counter(name: str, unit: str, description: str) -> Any:
            return meter.create_counter(name, unit=unit, description=description)

        self.jobs = counter("afterword.jobs", "{job}", "Attempts that ended")
        self.ran = durations("afterword.run.duration", "How long attempts ran")
        self.waited = durations("afterword.wait.duration", "How long due attempts waited")
        self.refused = counter(
            "afterword.outcomes.refused", "{outcome}", "Outcomes that came too late"
        )
        self.lost = counter("afterword.leases.lost", "{lease}", "Leases that were not renewed")
        for name, (unit, description) in GAUGES.items():
            callback = _reading(name)
            meter.create_observable_gauge(name, [callback], unit=unit, description=description)


_known: _Instruments | None = None


def _guarded(use: "Callable[[_Instruments], object]") -> None:
    """Use the instruments of the provider, which is the application's code and may raise.

    Outcomes are counted in the store's thread: an error must not keep it from going on.
    """
    try:
        provider = meters.get()
        if provider is not None:
            use(_instruments(provider))
    except Exception as error:
        telemetry.metrics_failed(error)


def _instruments(provider: "MeterProvider") -> _Instruments:
    global _known  # noqa: PLW0603
    with _lock:
        if _known is None or _known.provider is not provider:
            _known = _Instruments(provider)
        return _known


def _reading(name: str) -> Callable[[Any], "Sequence[Observation]"]:
    """Return the function that an exporter calls for a gauge."""

    def read(_: Any) -> "Sequence[Observation]":
        from opentelemetry.metrics import Observation

        values: list[Observation] = []
        for source in list(_watched):
            with contextlib.suppress(Exception):  # the store is away: there is nothing to tell
                values.extend(Observation(value, labels) for value, labels in source.read(name))
        return values

    return read
