"""injection: the cost of injecting a task's parameters, and of reporting progress.

Attempts run one after the other, from claim to outcome, without a store and without waiting, so the
worker's own time is measured. The cases take turns. The same dependencies are also measured in
their own frameworks.
"""

import asyncio
import contextvars
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from fastapi.dependencies.utils import get_dependant, solve_dependencies
from starlette.requests import Request
from wireup import inject_from_container

from afterword import Afterword, Progress
from afterword.in_task import builtins_of
from afterword.model.threads import Threads
from afterword.store.protocol import Claim
from afterword.worker.context import BUILTINS, TaskContext
from afterword.worker.executor import Targets, conclude, prepare, run_async, run_sync, waiting_in
from afterword.worker.services import WorkerServices
from bench import injected
from bench.options import Options
from bench.result import Result

TIMES = 1_000  # attempts per turn
TURNS = 10  # per round
UPDATES = 1_000_000

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds of CPU time, and of elapsed time."""

    used: float
    took: float


Figures = dict[str, list[Figure]]


@dataclass(frozen=True, slots=True)
class Case:
    """A measured call; `base` is the case to compare it with."""

    name: str
    once: Once
    base: str | None = None


def measure(options: Options) -> list[Result]:
    """Measure all cases in turns, then progress."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> list[Result]:
    cases = [*_attempts(), *_by_themselves()]
    figures: Figures = {case.name: [] for case in cases}
    for number in range(options.rounds * TURNS):
        for case in cases:
            figures[case.name].append(await _time(case.once))
        print(f"turn {number + 1} of {options.rounds * TURNS}", file=sys.stderr)
    updates = [_nanoseconds_per_update() for _ in range(options.rounds)]
    return [_result(cases, figures, updates)]


async def _time(once: Once) -> Figure:
    used, begun = time.process_time(), time.perf_counter()
    for _ in range(TIMES):
        await once()
    used, took = time.process_time() - used, time.perf_counter() - begun
    return Figure(used / TIMES * 1e6, took / TIMES * 1e6)


# ---------------------------------------------------------------------- attempts


def _attempts() -> Sequence[Case]:
    afterword = injected.application("sqlite:///unused.db")
    builtins = {**BUILTINS, **builtins_of(afterword.intake, Afterword)}
    place = WorkerServices(injection=afterword.injection, builtins=builtins)
    targets, threads = Targets(afterword.injection), Threads(4)
    loop, context = asyncio.get_running_loop(), contextvars.Context()

    def attempts_at(func: Callable[..., Any]) -> Once:
        claim = Claim("id", 1, "worker", f"{func.__module__}:{func.__name__}", '{"number":1}', 0.0)

        async def once() -> object:
            attempt = prepare(claim, TaskContext(claim, place, 0.0), targets)
            if attempt.in_loop:
                ending = await run_async(attempt, threads.submit)
            else:
                ending = run_sync(attempt, waiting_in(loop), context.copy())
            if ending.error is not None:
                raise ending.error
            return conclude(attempt, ending, None)

        return once

    each: dict[str, Callable[..., Any]] = {
        "def: nothing injected": injected.plain,
        "def: TaskContext and Progress": injected.native,
        "def: three Depends": injected.depends,
        "def: three async Depends (a hop into a thread)": injected.depends_in_loop,
        "def: Wireup, a singleton and a scoped object": injected.by_wireup,
        "async def: nothing injected": injected.plain_async,
        "async def: TaskContext and Progress": injected.native_async,
        "async def: three async Depends": injected.depends_async,
        "async def: three def Depends (two hops into a thread)": injected.depends_in_threads,
        "async def: Wireup, a singleton and a scoped object": injected.by_wireup_async,
        "async def: dishka, the same": injected.by_dishka_async,
    }
    return [
        Case(name, attempts_at(func), f"{name.partition(':')[0]}: nothing injected")
        for name, func in each.items()
    ]


# ---------------------------------------------------------------------- without Afterword


def _by_themselves() -> Sequence[Case]:
    return [
        Case("FastAPI itself: three async Depends, solve_dependencies", _solving()),
        Case("Wireup itself: a task wrapped once", _wrapped_once()),
        Case("Wireup itself: wrapped for each call", _wrapped_each_time()),
    ]


def _solving() -> Once:
    dependant = get_dependant(path="/", call=injected.depends_async)
    solve: Any = solve_dependencies

    async def once() -> object:
        async with AsyncExitStack() as inner, AsyncExitStack() as outer:
            scope = {
                "type": "http",
                "query_string": b"number=1",
                "headers": [],
                "fastapi_inner_astack": inner,
                "fastapi_function_astack": outer,
            }
            return await solve(
                request=Request(scope),
                dependant=dependant,
                async_exit_stack=inner,
                embed_body_fields=False,
            )

    return once


def _wrapped_once() -> Once:
    container = injected.container()
    wrapped: Any = inject_from_container(container)(injected.by_wireup_async)

    async def once() -> object:
        return await wrapped(1)

    return once


def _wrapped_each_time() -> Once:
    wrap: Any = inject_from_container(injected.container())

    async def once() -> object:
        return await wrap(injected.by_wireup_async)(1)

    return once


# ---------------------------------------------------------------------- progress


def _nanoseconds_per_update() -> float:
    claim = Claim("id", 1, "worker", "task", "{}", 0.0)
    progress = Progress(claim, id)
    begun = time.process_time()
    for number in range(UPDATES):
        progress.update(number, UPDATES)
    return (time.process_time() - begun) / UPDATES * 1e9


# ---------------------------------------------------------------------- the table


def _result(cases: Sequence[Case], figures: Figures, updates: list[float]) -> Result:
    return Result(
        name="injection",
        title="What injection costs an attempt",
        header=["", "CPU, µs", "more than with nothing injected, µs", "elapsed, µs"],
        rows=[_row(case, figures) for case in cases],
        notes="The worker's own time for one attempt, from the claim to the outcome, without a"
        " store: finding the function, decoding its argument, injecting, calling what does nothing."
        " One of the three dependencies yields. A hop into a thread and back takes as long as the"
        " machine is busy."
        f"\n\nProgress: `update(current, total)` takes {median(updates):,.0f} ns, a million of them"
        f" {median(updates) * UPDATES / 1e9:.2f} s.",
        data={
            **{name: [asdict(each) for each in measured] for name, measured in figures.items()},
            "nanoseconds per update": updates,
        },
        versions=_versions(),
    )


def _row(case: Case, figures: Figures) -> list[str]:
    measured, base = figures[case.name], figures.get(case.base or "")
    more = ""
    if base is not None and base is not measured:
        differences = (one.used - other.used for one, other in zip(measured, base, strict=True))
        more = f"{median(differences):,.1f}"
    used, took = (median(getattr(each, name) for each in measured) for name in ("used", "took"))
    return [case.name, f"{used:,.1f}", more, f"{took:,.1f}"]


def _versions() -> list[str]:
    return [f"{name} {version(name)}" for name in ("wireup", "dishka")]
