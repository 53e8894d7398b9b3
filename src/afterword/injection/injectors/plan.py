"""Call plans for the `Depends(...)` of a function, compiled once, by FastAPI's rules.

The tree of dependencies becomes a list of steps, each after the steps it needs, and a list of
places for values: one per step, followed by the seeds (provided values, the request, defaults). An
argument is the index of a place. Decisions that FastAPI makes per request are made once here,
caching included: a cached dependency refers to an existing place and adds no step.

A tree that needs more of a request than its application and state is refused.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import params
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from afterword.injection.injectors import refusal
from afterword.injection.injectors.defaults import default_of
from afterword.injection.injectors.markers import is_of_wireup, marked, marker_of
from afterword.injection.injectors.refusal import Path
from afterword.injection.needs import Function, builtin_type_of
from afterword.injection.scope import Provided
from afterword.tasks.signature import Hint, hints

Seed = Callable[[Provided], Any]


class Kind(StrEnum):
    """The ways in which a dependency gives its value."""

    RETURNS = "returns"  # called in a thread
    AWAITED = "awaited"
    YIELDS = "yields"  # entered and left in a thread
    YIELDS_AWAITED = "yields awaited"


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a dependency; for one that yields, `call` makes the context manager to enter."""

    place: int  # of its value
    call: Function
    kind: Kind
    arguments: tuple[tuple[str, int], ...]  # parameter, and the place of its value
    limit: Any = None  # FastAPI's own semaphore for `max_concurrency`

    @property
    def is_sync(self) -> bool:
        """Return True if a thread can perform it."""
        return self.kind in (Kind.RETURNS, Kind.YIELDS) and self.limit is None

    def start(self, values: list[Any]) -> Any:
        """Call it with the values that its arguments refer to."""
        return self.call(**{name: values[place] for name, place in self.arguments})


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that compute the values of a function's parameters."""

    seeds: tuple[Seed, ...]
    steps: tuple[Step, ...]
    groups: tuple[tuple[Step, ...], ...]  # neighbours that share a hop into a thread, or one step
    results: tuple[tuple[str, int], ...]  # parameter, and the place of its value
    all_sync: bool

    def places(self, provided: Provided) -> list[Any]:
        """Make the list of places; seeds are indexed from the end, as -1, -2, ..."""
        return [*([None] * len(self.steps)), *(seed(provided) for seed in reversed(self.seeds))]

    def values(self, places: list[Any]) -> dict[str, Any]:
        """Return the values of the parameters, after the last step."""
        return {name: places[place] for name, place in self.results}


def compile_plan(
    func: Function,
    *,
    request: Seed,
    builtin_types: Collection[type] = (),
    overrides: Mapping[Function, Function] | None = None,
) -> Plan | None:
    """Compile the plan of a function; None if none of its parameters has a `Depends`.

    Args:
        request: makes the value of `Request` parameters.
        builtin_types: the types that are provided by annotation alone.
        overrides: `app.dependency_overrides`.

    Raises:
        InjectionError: a parameter can never be filled in a worker.
    """
    compiler = _Compiler(request, builtin_types, overrides or {})
    results = tuple(
        (parameter.name, compiler.dependency(marker, hint, Path(func).to(parameter.name)))
        for parameter, hint, marker in marked(func, builtin_types)
    )
    if not results:
        return None
    steps = tuple(compiler.steps)
    return Plan(
        tuple(compiler.seeds),
        steps,
        tuple(_grouped(steps)),
        results,
        all_sync=all(step.is_sync for step in steps),
    )


def _grouped(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """Group neighbouring `def` steps: they share one hop into a thread, which costs more."""
    for is_sync, group in itertools.groupby(steps, key=lambda step: step.is_sync):
        if is_sync:
            yield tuple(group)
        else:
            yield from ((step,) for step in group)


class _Compiler:
    """Walks the tree in FastAPI's order: the dependencies of a dependency first."""

    def __init__(
        self, request: Seed, builtin_types: Collection[type], overrides: Mapping[Function, Function]
    ) -> None:
        self.steps: list[Step] = []
        self.seeds: list[Seed] = []
        self._builtin_types, self._overrides = builtin_types, overrides
        self._request = request
        self._request_place: int | None = None  # one for all: they share its `state`
        self._cached: dict[object, int] = {}

    def dependency(self, marker: params.Depends, hint: Hint, path: Path) -> int:
        """Return the place of the value of a `Depends`."""
        refusal.of_security(marker, hint, path)
        written = marker.dependency or hint.bare
        call = self._overrides.get(written, written)
        arguments = self._arguments(call, path.into(call))
        # FastAPI always caches the first value; `use_cache` only says whether to use a cached one.
        key = written, _scope(marker, written)
        if marker.use_cache and key in self._cached:
            return self._cached[key]
        place = len(self.steps)
        self.steps.append(_step(place, call, arguments, refusal.limit_of(marker, path)))
        self._cached.setdefault(key, place)
        return place

    def _arguments(self, call: Function, path: Path) -> tuple[tuple[str, int], ...]:
        return tuple(
            (parameter.name, self._argument(parameter, hint, path.to(parameter.name)))
            for parameter, hint in hints(call)
        )

    def _argument(self, parameter: inspect.Parameter, hint: Hint, path: Path) -> int:
        kind = builtin_type_of(hint.bare, self._builtin_types)
        if kind is not None:
            return self._provided(kind)
        marker = marker_of(parameter, hint)
        if is_of_wireup(marker):
            refusal.of_wireup(path)
        if isinstance(marker, params.Depends):
            return self.dependency(marker, hint, path)
        if _is_kind_of(hint.bare, HTTPConnection) and not _is_kind_of(hint.bare, WebSocket):
            return self._of_request()
        refusal.of_type(hint.bare, path)
        default = default_of(parameter, hint, marker)
        if default is None:
            refusal.of_required(marker, path)
        return self._seed(lambda _: default())

    def _of_request(self) -> int:
        if self._request_place is None:
            self._request_place = self._seed(self._request)
        return self._request_place

    def _provided(self, kind: type) -> int:
        return self._seed(lambda provided: provided[kind])

    def _seed(self, seed: Seed) -> int:
        self.seeds.append(seed)
        return -len(self.seeds)


def _is_kind_of(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _step(place: int, call: Function, arguments: tuple[tuple[str, int], ...], limit: Any) -> Step:
    kind = kind_of(call)
    if kind is Kind.YIELDS:
        call = contextmanager(call)
    elif kind is Kind.YIELDS_AWAITED:
        call = asynccontextmanager(call)
    return Step(place, call, kind, arguments, limit)


def _scope(marker: params.Depends, call: Function) -> str | None:
    """Return the scope in FastAPI's cache key. Here every scope lasts as long as the attempt."""
    yields = kind_of(call) in (Kind.YIELDS, Kind.YIELDS_AWAITED)
    return getattr(marker, "scope", None) or ("request" if yields else None)


def kind_of(call: Function) -> Kind:
    """Return the kind of a callable, which may be a wrapper, a partial or an object."""
    forms = list(_forms(call))
    if any(inspect.isasyncgenfunction(form) for form in forms):
        return Kind.YIELDS_AWAITED
    if any(inspect.isgeneratorfunction(form) for form in forms):
        return Kind.YIELDS
    if any(inspect.iscoroutinefunction(form) for form in forms):
        return Kind.AWAITED
    return Kind.RETURNS


def _forms(call: Function) -> Iterator[Any]:
    outer = _without_partial(call)
    inner = inspect.unwrap(outer)
    for form in (outer, inner):
        yield form
        if not inspect.isclass(inner):
            method = _without_partial(getattr(form, "__call__", None))  # noqa: B004
            yield method
            yield inspect.unwrap(method)


def _without_partial(call: Any) -> Any:
    while isinstance(call, functools.partial):
        call = call.func
    return call
