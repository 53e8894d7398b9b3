"""Listeners: checks if spans, metrics, log lines and scopes of Sentry are collected at all.

They are called for each job, and the answer is mostly no, so they must be cheap. The other modules
send the data.

**Providers of OpenTelemetry** are the global one, or the one that an application was given. FastAPI
takes providers, too: `FastAPI(telemetry={"tracer_provider": ...})`. If all applications that have
started here were given the same one, spans and metrics go to it. Otherwise they go to the global
provider or, as long as there is none, to the provider of the application that started last.

The API of OpenTelemetry and the SDK of Sentry are never imported here first: as long as no other
code has imported them, nothing is collected, and a check is a look-up in `sys.modules`.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from afterword.model.outcome import Completed, HandedOver, Outcome

_logger = logging.getLogger("afterword")


class Providers:
    """The providers of one signal.

    Args:
        module, function: return the global provider.
        unset: the name of its class until one is set.
        option: the name of an application's own provider in the settings of FastAPI.
    """

    def __init__(self, module: str, function: str, unset: str, option: str) -> None:
        self._module, self._function, self._unset = module, function, unset
        self._option = option
        self._given: WeakKeyDictionary[object, Any] = WeakKeyDictionary()
        self._only: Any = None  # what all applications were given
        self._last: Any = None

    def start(self, owner: object, app: object) -> None:
        """Use the provider of an application, if it was given one."""
        settings = getattr(app, "_telemetry", None) or {}  # of FastAPI, since 0.165
        self._given[owner] = settings.get(self._option)
        self._choose()

    def stop(self, owner: object) -> None:
        """Forget the provider of an application."""
        self._given.pop(owner, None)
        self._choose()

    def _choose(self) -> None:
        given = list(self._given.values())
        self._last = next((each for each in reversed(given) if each is not None), None)
        same = given and all(each is self._last for each in given)
        self._only = self._last if same else None

    def get(self) -> Any:
        """Return the provider; None if there is none."""
        if self._only is not None:
            return self._only
        get_global = getattr(sys.modules.get(self._module), self._function, None)
        if get_global is None:  # also while another thread is importing it
            return self._last
        provider = get_global()
        return self._last if type(provider).__name__ == self._unset else provider


tracers = Providers(
    "opentelemetry.trace", "get_tracer_provider", "ProxyTracerProvider", "tracer_provider"
)
meters = Providers(
    "opentelemetry.metrics", "get_meter_provider", "_ProxyMeterProvider", "meter_provider"
)

# The context of the span whose attempt runs here, in a process of one attempt: see `tracing.carry`.
carried: Mapping[str, str] | None = None


def start(owner: object, app: object) -> None:
    """Use the providers that an application was given, until it stops."""
    tracers.start(owner, app)
    meters.start(owner, app)


def stop(owner: object) -> None:
    """Forget the providers of an application."""
    tracers.stop(owner)
    meters.stop(owner)


def want_spans() -> bool:
    """Return True if a job that is added needs a span, or the context of one."""
    return tracers.get() is not None or carried is not None


def want_metrics() -> bool:
    """Return True once a provider of metrics is set."""
    return meters.get() is not None


def want_end(outcome: Outcome) -> bool:
    """Return True if the end of an attempt is counted or logged; a failure always is."""
    succeeded = isinstance(outcome, Completed | HandedOver)
    return not succeeded or want_metrics() or _logger.isEnabledFor(logging.DEBUG)


def have_sentry() -> bool:
    """Return True once the application has imported the SDK of Sentry."""
    return "sentry_sdk" in sys.modules
