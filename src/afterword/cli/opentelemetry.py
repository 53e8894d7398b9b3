"""OpenTelemetry of `afterword worker`, configured by the variables `OTEL_*`.

A web process is instrumented by its server, by `opentelemetry-instrument`, or by its own code. A
worker has no server, so it sets up what the variables say, unless the application has done so: it
comes after the application's start. Exporters are found by the names that their packages have
registered, as OpenTelemetry's own tools do.
"""

import logging
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from afterword.model.outcome import summarize
from afterword.telemetry import metrics, tracing

logger = logging.getLogger("afterword")

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def configure() -> Callable[[], None]:
    """Set up what `OTEL_*` ask for; return the function that sends the rest at the end."""
    names = {signal: _exporter(signal) for signal in ("TRACES", "METRICS")}
    if not any(names.values()) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return _nothing
    wanted = {signal: name for signal, name in names.items() if name and not _is_set(signal)}
    try:
        ends = [_SETUPS[signal](name) for signal, name in wanted.items()]
    except Exception as error:  # observing the worker is not what it is for
        logger.warning("otel_not_configured: OTEL_* are set, but %s", summarize(error))
        return _nothing
    for signal, name in wanted.items():
        metrics.observe()
        logger.info("otel signal=%s exporter=%s", signal.lower(), name)

    def end() -> None:
        for each in ends:
            each()

    return end


def _is_set(signal: str) -> bool:
    """Return True if the application has a provider of its own."""
    return tracing.is_set() if signal == "TRACES" else metrics.is_set()


def _exporter(signal: str) -> str | None:
    """Return the registered name of the exporter of a signal; None: there is to be none."""
    name = os.environ.get(f"OTEL_{signal}_EXPORTER", "").partition(",")[0].strip().lower()
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or os.environ.get(_ENDPOINT)
    if name in ("", "otlp"):
        return _otlp(signal) if name or endpoint else None
    return None if name == "none" else name


def _otlp(signal: str) -> str:
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    return _PROTOCOLS.get(protocol, protocol)


def _traces(name: str) -> Callable[[], object]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_loaded("traces", name)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _metrics(name: str) -> Callable[[], object]:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(_loaded("metrics", name))
    provider = MeterProvider([reader], shutdown_on_exit=False)
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


def _nothing() -> None:
    """No-op."""


_SETUPS: dict[str, Callable[[str], Callable[[], object]]] = {"TRACES": _traces, "METRICS": _metrics}
