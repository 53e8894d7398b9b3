"""Shrink a failing scenario: leave out everything that the failure does not need.

A smaller scenario makes other choices, so it is tried under several schedules. It counts if it
breaks the same rule.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from simulation.run import Result, run_scenario
from simulation.scenario import Add, Bound, Direct, Late, People, Request, Scenario, Socket

SCHEDULES = 6  # tried for each candidate
MOST_RUNS = 1_000


def shrink(failed: Result) -> Result:
    """Find the smallest scenario that breaks the same rule."""
    rule = _rule_of(failed)
    runs = itertools.count()
    smallest = failed
    while True:
        for candidate in _smaller(smallest.scenario):
            if next(runs) * SCHEDULES > MOST_RUNS:
                return smallest
            found = _try(candidate, smallest.schedule, rule)
            if found is not None:
                smallest = found
                break
        else:
            return smallest


def _try(scenario: Scenario, schedule: int, rule: str) -> Result | None:
    for number in (schedule, *range(SCHEDULES)):
        result = run_scenario(scenario, number)
        if result.violations and _rule_of(result) == rule:
            return result
    return None


def _rule_of(result: Result) -> str:
    return result.violations[0].partition(":")[0]


# ---------------------------------------------------------------------- smaller scenarios


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    for faults in _without_one(scenario.faults):
        yield replace(scenario, faults=faults)
    for actors in _without_one(scenario.actors):
        yield replace(scenario, actors=actors)
    for position, actor in enumerate(scenario.actors):
        for smaller in _smaller_actor(actor):
            yield replace(scenario, actors=_with(scenario.actors, position, smaller))
    for name, value in (
        ("roles", ("both",)),
        ("skews", ()),
        ("every", ()),
        ("retention", None),
        ("concurrency", 40),
        ("idempotent", False),
        ("shared", False),
    ):
        if getattr(scenario, name) != value and not (name == "shared" and _binds(scenario)):
            yield replace(scenario, **{name: value})  # type: ignore[arg-type]


def _binds(scenario: Scenario) -> bool:
    steps = [step for each in scenario.actors for step in getattr(each, "steps", ())]
    return any(isinstance(step, Bound) for step in steps)


def _smaller_actor(actor: Any) -> Iterator[Any]:
    if actor.cut is not None:
        yield replace(actor, cut=None)
    if getattr(actor, "repeats", 0):
        yield replace(actor, repeats=0)
    if isinstance(actor, Request):
        yield from (replace(actor, at=at) for at in _without_one(actor.at) if at)
        yield from (
            replace(actor, steps=steps) for steps in _smaller_all(actor.steps, _smaller_step)
        )
    elif isinstance(actor, People):
        yield from (replace(actor, acts=acts) for acts in _without_one(actor.acts) if acts)
    elif isinstance(actor, Socket):
        yield from (
            replace(actor, senders=each) for each in _smaller_all(actor.senders, _smaller_adds)
        )
    else:
        yield from (replace(actor, add=add) for add in _plainer(actor.add))


def _smaller_step(step: Any) -> Iterator[Any]:
    if isinstance(step, Add):
        yield from _plainer(step)
    elif isinstance(step, Late):
        yield from (replace(step, adds=adds) for adds in _smaller_adds(step.adds) if adds)
    elif isinstance(step, Bound):
        yield from (
            replace(step, rounds=rounds) for rounds in _smaller_all(step.rounds, _smaller_round)
        )
    elif isinstance(step, Direct):
        yield from (replace(step, add=add) for add in _plainer(step.add))


def _smaller_round(one: tuple[tuple[Add, ...], bool]) -> Iterator[tuple[tuple[Add, ...], bool]]:
    adds, commit = one
    yield from ((smaller, commit) for smaller in _smaller_adds(adds))


def _smaller_adds(adds: tuple[Add, ...]) -> Iterator[tuple[Add, ...]]:
    return _smaller_all(adds, _plainer)


def _plainer(add: Add) -> Iterator[Add]:
    if add.kind != "quick":
        yield replace(add, kind="quick")
    if add.delay is not None:
        yield replace(add, delay=None)


def _smaller_all(
    items: tuple[Any, ...], smaller: Callable[[Any], Iterator[Any]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the items without one of them, then with a smaller one in its place."""
    yield from _without_one(items)
    for position, item in enumerate(items):
        for each in smaller(item):
            yield _with(items, position, each)


def _without_one(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    return (items[:n] + items[n + 1 :] for n in range(len(items)))


def _with(items: tuple[Any, ...], position: int, item: Any) -> tuple[Any, ...]:
    return (*items[:position], item, *items[position + 1 :])
