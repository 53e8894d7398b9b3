"""FastAPI's `Depends` in tasks: one scope per attempt, with the application's overrides.

As in a route, `async` dependencies are awaited in the event loop, and `def` ones run in a thread.
If a `def` task has only `def` dependencies, they run in the task's own thread. Both scopes of
`yield` dependencies last as long as the attempt.
"""

import contextvars
import functools
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from typing import Any

from afterword.errors import InjectionError
from afterword.injection.injectors.plan import Kind, Plan, Step, compile_plan
from afterword.injection.injectors.request import TaskRequest
from afterword.injection.lifecycle import in_thread, uninterrupted
from afterword.injection.needs import Function
from afterword.injection.scope import AsyncScope, Provided, Stack, SyncScope, Values
from afterword.model.fork import in_child
from afterword.model.threads import Threads
from afterword.tasks.signature import name_of

_THREADS = 10_000  # at most one per attempt; the exit of a dependency must never wait for one


class DependsInjector:
    """Fills the parameters that have a `Depends`.

    Args:
        app: the application, for its `dependency_overrides` and for `request.app`.
        builtin_types: the types that are provided by annotation alone, also in dependencies.
        lifespan_state: returns what the application's lifespan yielded, for `request.state`.
    """

    name = "fastapi"

    def __init__(
        self,
        app: Any = None,
        *,
        builtin_types: Collection[type] = (),
        lifespan_state: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._app, self._builtin_types = app, builtin_types
        self._lifespan_state = lifespan_state
        self._forget()
        in_child(self._forget)

    def _forget(self) -> None:
        self.threads = Threads(_THREADS, "afterword-dependency")

    @property
    def overrides(self) -> Mapping[Function, Function]:
        """The application's present `dependency_overrides`."""
        return getattr(self._app, "dependency_overrides", None) or {}

    def unwrap(self, func: Function, /) -> Function:
        """Return the function itself: FastAPI wraps no functions."""
        return func

    def bind(self, func: Function, /) -> "BoundDepends | None":
        """Compile the plan of a function; see `afterword.injection.needs.Injector`."""
        plan = self.plan(func, {})
        return None if plan is None else BoundDepends(self, func, plan)

    def plan(self, func: Function, overrides: Mapping[Function, Function]) -> Plan | None:
        """Compile the plan of a function under overrides."""
        return compile_plan(
            func, request=self._request, builtin_types=self._builtin_types, overrides=overrides
        )

    def _request(self, _: Provided) -> TaskRequest:
        return TaskRequest(self._app, self._lifespan_state())


class BoundDepends:
    """The `Depends` of one function."""

    def __init__(self, injector: DependsInjector, func: Function, plan: Plan) -> None:
        self.names = frozenset(name for name, _ in plan.results)
        self._injector, self._func, self._plan = injector, func, plan
        self._overridden: tuple[Mapping[Function, Function], Plan] = ({}, plan)

    @property
    def all_sync(self) -> bool:
        """Return True if all dependencies are `def`, with the present overrides."""
        return self._now.all_sync

    @property
    def _now(self) -> Plan:
        """The plan with the present overrides."""
        overrides = self._injector.overrides
        if not overrides:
            return self._plan
        if overrides != self._overridden[0]:
            plan = self._injector.plan(self._func, overrides) or self._plan
            self._overridden = dict(overrides), plan
        return self._overridden[1]

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        return _Scope(self._now, provided, self._injector.threads)

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """See `afterword.injection.needs.Bound`."""
        plan = self._now
        if not plan.all_sync:
            raise InjectionError(
                f"A `def` task that has started in a thread can have `def` dependencies only, but"
                f" one of {name_of(self._func)} was overridden by an `async` one since then."
                " Override it before the task is added."
            )
        return _SyncScope(plan, provided)


class _SyncScope(SyncScope):
    def __init__(self, plan: Plan, provided: Provided) -> None:
        super().__init__()
        self._plan, self._provided = plan, provided

    def _enter(self) -> Values:
        places = self._plan.places(self._provided)
        _take(self._plan.steps, places, self.stack)
        return self._plan.values(places)


def _take(steps: tuple[Step, ...], places: list[Any], stack: Stack) -> None:
    """Perform steps in this thread."""
    for step in steps:
        value = step.start(places)
        places[step.place] = stack.enter(value) if step.kind is Kind.YIELDS else value


class _Scope(AsyncScope):
    def __init__(self, plan: Plan, provided: Provided, threads: Threads) -> None:
        super().__init__()
        self._plan, self._provided = plan, provided
        self._threads = threads

    async def _enter(self) -> Values:
        places = self._plan.places(self._provided)
        for group in self._plan.groups:
            await self._take(group, places)
        return self._plan.values(places)

    async def _take(self, group: tuple[Step, ...], places: list[Any]) -> None:
        step = group[0]
        if step.is_sync:
            await self._take_in_thread(group, places)
        elif step.limit is not None:
            await self._take_in_turn(step, places)
        elif step.kind is Kind.AWAITED:
            places[step.place] = await step.start(places)
        else:
            places[step.place] = await self.stack.enter(step.start(places))

    async def _take_in_turn(self, step: Step, places: list[Any]) -> None:
        """Perform a step under `max_concurrency`; one that yields keeps its turn until its exit."""
        turn = step.limit.get_semaphore()
        group = (replace(step, limit=None),)
        if step.kind in (Kind.YIELDS, Kind.YIELDS_AWAITED):
            await self.stack.enter(turn)
            await self._take(group, places)
        else:
            async with turn:
                await self._take(group, places)

    async def _take_in_thread(self, group: tuple[Step, ...], places: list[Any]) -> None:
        """Enter a group with one hop into a thread; leave it with another, in the same context."""
        stack, context = Stack(), contextvars.copy_context()
        if any(step.kind is Kind.YIELDS for step in group):
            self.stack.push(functools.partial(self._leave_in_thread, stack, context))
        take = functools.partial(_taken, group, places, stack)
        error = await uninterrupted(in_thread(self._threads.submit, context, take))
        if error is not None:
            raise error

    async def _leave_in_thread(
        self, stack: Stack, context: contextvars.Context, error: BaseException | None
    ) -> BaseException | None:
        leave = functools.partial(stack.leave, error)
        return await in_thread(self._threads.submit, context, leave)


def _taken(group: tuple[Step, ...], places: list[Any], stack: Stack) -> BaseException | None:
    """Perform steps in this thread; return what was raised as a value."""
    try:
        _take(group, places, stack)
    except BaseException as error:
        return error
    return None
