"""OpenTelemetry of `afterword worker`, configured by the variables `OTEL_*`.

A web process is instrumented by its server, by `opentelemetry-instrument`, or by its own code. A
worker has no server, so it sets up what the variables say, unless the application has done so: it
comes after the start-up of the application, and before the first job. Exporters are found by the
names that their packages have registered, as OpenTelemetry's own tools do.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from afterword.model.outcome import summarize
from afterword.telemetry.listeners import want_metrics, want_spans

logger = logging.getLogger("afterword")

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Telemetry:
    """The providers that the variables ask for, from the start of the application to its end."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Set it up; called before the first job runs, which would have no span otherwise."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return
        for signal, set_up in _SETUPS.items():
            names = _exporters(signal)
            if not names or _is_set(signal):
                continue
            try:
                self._ends.append(set_up(names))
            except Exception as error:  # observing the worker is not what it is for
                line = "otel_not_configured signal=%s: OTEL_* are set, but %s"
                logger.warning(line, signal.lower(), summarize(error))
            else:
                logger.info("otel signal=%s exporter=%s", signal.lower(), ",".join(names))

    def end(self, within: float) -> None:
        """Send the remaining data, for so many seconds; a collector may not answer."""
        until = time.monotonic() + within
        threads = [threading.Thread(target=each, daemon=True) for each in self._ends]
        for each in threads:
            each.start()
        for each in threads:
            each.join(max(0.0, until - time.monotonic()))


def _is_set(signal: str) -> bool:
    """Return True if the application has a provider of its own."""
    return want_spans() if signal == "TRACES" else want_metrics()


def _exporters(signal: str) -> list[str]:
    """Return the registered names of the exporters of a signal; empty: there is to be none."""
    text = os.environ.get(f"OTEL_{signal}_EXPORTER", "").lower()
    names = [each.strip() for each in text.split(",") if each.strip()]
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or os.environ.get(_ENDPOINT)
    if not names and endpoint:
        names = ["otlp"]
    return [_otlp(signal) if each == "otlp" else each for each in names if each != "none"]


def _otlp(signal: str) -> str:
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    return _PROTOCOLS.get(protocol, protocol)


def _traces(names: list[str]) -> Callable[[], object]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporters = [_loaded("traces", name) for name in names]
    provider = TracerProvider(shutdown_on_exit=False)
    for each in exporters:
        provider.add_span_processor(BatchSpanProcessor(each))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _metrics(names: list[str]) -> Callable[[], object]:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporters = [_loaded("metrics", name) for name in names]
    readers = [PeriodicExportingMetricReader(each) for each in exporters]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _loaded(signal: str, name: str) -> Any:
    """Make the exporter that a package has registered under this name."""
    found = entry_points(group=f"opentelemetry_{signal}_exporter", name=name)
    if not found:
        raise LookupError(
            f"no exporter is registered as {name!r}. Install one:"
            " pip install opentelemetry-exporter-otlp-proto-http"
        )
    return next(iter(found)).load()()


_SETUPS: dict[str, Callable[[list[str]], Callable[[], object]]] = {
    "TRACES": _traces,
    "METRICS": _metrics,
}
