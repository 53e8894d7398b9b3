"""Traces: a span where a job is added, and a span for each attempt at it.

    send shop.mail:welcome        in the request; its context is stored with the job
    process shop.mail:welcome     for each attempt, in the process that runs it

The OpenTelemetry API is used with the provider of the application (`listeners.py`).

Span processors are the application's code and may raise. No job is lost because of them: the error
is logged once, and the job goes on without a span.
"""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from afterword import telemetry
from afterword.model.failures import exception_of
from afterword.model.job import JobOptions
from afterword.model.outcome import Cancelled, Failed, Outcome, RetryAt, summarize
from afterword.telemetry import listeners
from afterword.telemetry.listeners import tracers

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

T = TypeVar("T")

TRACE_WITHIN = 300.0  # seconds
SYSTEM = "afterword"
_OTHER = "_OTHER"  # what the conventions call an error of no known type

_known: "tuple[TracerProvider, Tracer] | None" = None


def send(job_id: str, task: str, queue: str) -> Mapping[str, str] | None:
    """Make the span of a job that is added; return its context as text, to be stored with the job.

    None: there is no provider.
    """
    tracer = _tracer()
    if tracer is None:
        return listeners.carried
    return _guarded(lambda: _send(tracer, job_id, task, queue))


def process(
    job_id: str,
    task: str,
    queue: str,
    options: str | None,
    *,
    attempt: int,
    age: float,
    within: float,
) -> "AttemptTrace | None":
    """Begin the span of an attempt; None: there is no provider.

    Args:
        options: as stored with the job; they have the context of the span that sent it.
        age: seconds since the job was added.
        within: the greatest age at which the span is a child of that span. Later it begins a trace
            of its own, which is linked to it.
    """
    tracer = _tracer()
    if tracer is None:
        return None

    def begin() -> AttemptTrace:
        attributes = {**_attributes("process", job_id, task, queue), "afterword.attempt": attempt}
        sent = JobOptions.read(options).trace or {}
        return _begin(tracer, f"process {task}", attributes, sent, is_child=age <= within)

    return _guarded(begin)


def carry(context: Mapping[str, str] | None) -> None:
    """Give the jobs that this process adds the context of a span of another process.

    For a child process that runs one task at a time, and may have no provider of its own.
    """
    listeners.carried = context


def joined(context: Mapping[str, str] | None) -> "AttemptTrace | None":
    """Continue the span of an attempt in another process; None: there is no provider here."""
    if not context or _tracer() is None:
        return None

    def join() -> AttemptTrace:
        from opentelemetry.trace import get_current_span

        parent = _context_of(context)
        return AttemptTrace(get_current_span(parent), parent, context)

    return _guarded(join)


def mark_failed(error: BaseException) -> None:
    """Set the status of FastAPI's span for a background task, because it will not see the error."""
    trace = sys.modules.get("opentelemetry.trace")
    get_span = getattr(trace, "get_current_span", None)
    span = None if get_span is None else get_span()
    if span is not None and getattr(span, "name", "") == "fastapi.background_task":
        kind, _ = exception_of(summarize(error))
        _guarded(lambda: _set_failed(span, kind or type(error).__qualname__))


def _set_failed(span: "Span", kind: str, message: str | None = None) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, message)


class AttemptTrace:
    """The span of an attempt, and the context in which the task runs.

    Args:
        carrier: the context as text, for another process.
    """

    def __init__(self, span: "Span", context: "Context", carrier: Mapping[str, str]) -> None:
        self._span, self._context = span, context
        self.carrier = carrier

    @property
    def trace_id(self) -> str:
        """The id of the trace, as 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def enter(self) -> None:
        """Make the span the current one, in the context variables of the attempt."""
        from opentelemetry import context

        context.attach(self._context)

    def end(self, outcome: Outcome) -> None:
        """End the span with the outcome, whose text has gone through `redact`."""
        _guarded(lambda: self._end(outcome))

    def _end(self, outcome: Outcome) -> None:
        span = self._span
        span.set_attribute("afterword.outcome", telemetry.verb_of(outcome))
        if isinstance(outcome, Failed | RetryAt):
            self._record(outcome.error)
        elif isinstance(outcome, Cancelled):
            span.set_attribute("afterword.reason", outcome.reason)
        span.end()

    def _record(self, error: str) -> None:
        kind, message = exception_of(error)
        _set_failed(self._span, kind or _OTHER, message)
        # Not `record_exception`: it would write what `redact` has taken out of the text.
        event = {"exception.type": kind or _OTHER, "exception.message": message}
        self._span.add_event("exception", {**event, "exception.stacktrace": error})


def _tracer() -> "Tracer | None":
    """Return the tracer of the provider; None as long as there is none, or if it has no tracer."""
    provider = tracers.get()
    return None if provider is None else _guarded(lambda: _tracer_of(provider))


def _tracer_of(provider: "TracerProvider") -> "Tracer":
    global _known  # noqa: PLW0603
    if _known is None or _known[0] is not provider:
        _known = (provider, provider.get_tracer("afterword"))
    return _known[1]


def _attributes(operation: str, job_id: str, task: str, queue: str) -> dict[str, Any]:
    """Return the attributes of the semantic conventions for messaging."""
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job_id,
        "code.function.name": task.replace(":", "."),
        "afterword.task": task,
    }


def _send(tracer: "Tracer", job_id: str, task: str, queue: str) -> Mapping[str, str] | None:
    from opentelemetry.trace import SpanKind, set_span_in_context

    attributes = _attributes("send", job_id, task, queue)
    span = tracer.start_span(f"send {task}", kind=SpanKind.PRODUCER, attributes=attributes)
    try:
        return _text_of(set_span_in_context(span)) or None
    finally:
        span.end()


def _begin(
    tracer: "Tracer",
    name: str,
    attributes: dict[str, Any],
    sent: Mapping[str, str],
    *,
    is_child: bool,
) -> AttemptTrace:
    from opentelemetry.trace import (
        INVALID_SPAN,
        Link,
        SpanKind,
        get_current_span,
        set_span_in_context,
    )

    parent = _context_of(sent)
    origin = get_current_span(parent).get_span_context()
    links = []
    if origin.is_valid and not is_child:
        links = [Link(origin)]
        parent = set_span_in_context(INVALID_SPAN, parent)  # keeps the baggage
    span = tracer.start_span(
        name, context=parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links
    )
    context = set_span_in_context(span, parent)
    return AttemptTrace(span, context, _text_of(context))


def _text_of(context: "Context") -> dict[str, str]:
    """Write a context by the global propagator, and always in the form of the W3C as well."""
    from opentelemetry import propagate
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    TraceContextTextMapPropagator().inject(carrier, context)
    return carrier


def _context_of(carrier: Mapping[str, str]) -> "Context":
    """Read what `_text_of` has written; empty if it was edited by hand and makes no sense."""
    from opentelemetry import propagate
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = propagate.extract(carrier, Context())
    return TraceContextTextMapPropagator().extract(carrier, context)


def _guarded(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except Exception as error:
        telemetry.tracing_failed(error)
        return None
