"""What a task declares as the routes do, and gets where it runs: the seam to the frameworks.

    async def send(user_id: UUID, mail: Injected[Mailer], progress: Progress) -> None: ...

    add_task(send, user_id)   # mail and progress are no arguments: nothing of them is stored

An injector (`afterword.injectors`) knows one framework. Asked once per function, it binds those
parameters that carry the framework's marker; the rest stays the caller's. Both halves ask: the web
half to leave the injected parameters out of the stored arguments, and to refuse at once what could
never run; the worker to open a scope per attempt, in which the framework makes what is needed.

`TaskContext`, `Progress` and their like are given by annotation alone; the application says which
types these are (`natives`), and the worker provides them for each attempt.
"""

import functools
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from afterword.errors import InjectionError
from afterword.scope import AsyncScope, Provided, SyncScope, Values
from afterword.signature import hints, name_of

Function = Callable[..., Any]


class Bound(Protocol):
    """What one injector does for one function; `injectors.depends.BoundDepends` is one.

    It is entered in the order of the function's parameters; before all others, if it has an
    attribute `encloses` that is true, because these call what looks for its scope.
    """

    @property
    def names(self) -> frozenset[str]:
        """The parameters it fills; none if the function needs its scope only."""

    @property
    def all_sync(self) -> bool:
        """Whether all of it can be had in a thread, by `sync_scope`."""

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """Make the values by name, for one attempt; leaving gives them back.

        Leaving gets the exception of the attempt, if it failed.
        """

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """The same in one thread. Called if `all_sync`."""


class Injector(Protocol):
    """One framework; `injectors.wireup.WireupInjector` is one."""

    name: str

    def unwrap(self, func: Function, /) -> Function:
        """The function inside of a wrapper of this framework; any other as it is."""

    def bind(self, func: Function, /) -> Bound | None:
        """What it does for a function; None if nothing there is its own.

        Raises:
            InjectionError: what the function asks for can never be had in a worker.
        """


class Needs:
    """What one function is to be given in each attempt.

    Args:
        natives: parameter and type of what the worker itself provides.
        bounds: what the frameworks do, in the order in which it is entered.
    """

    def __init__(self, natives: Iterable[tuple[str, type]], bounds: Iterable[Bound]) -> None:
        self._natives, self._bounds = tuple(natives), tuple(bounds)
        self.scoped = bool(self._bounds)  # whether an attempt has something to enter and to leave
        self.names = frozenset(name for name, _ in self._natives).union(
            *(bound.names for bound in self._bounds)
        )

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def all_sync(self) -> bool:
        """Whether setup, body and teardown of a `def` task can share one thread.

        To be asked for each attempt: an override may be of another kind than what it replaces.
        """
        return all(bound.all_sync for bound in self._bounds)

    def values(self, provided: Provided) -> Values:
        """What the worker itself provides, by name: all there is if nothing is `scoped`."""
        return {name: provided[kind] for name, kind in self._natives}

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """The values by name, for an attempt in an asyncio task; see `afterword.scope`."""
        return _Scope(self.values(provided), self._bounds, provided)

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """The same for an attempt in a thread, if `all_sync`."""
        return _SyncScope(self.values(provided), self._bounds, provided)


NOTHING = Needs((), ())


class _Scope(AsyncScope):
    def __init__(self, values: Values, bounds: tuple[Bound, ...], provided: Provided) -> None:
        super().__init__()
        self._values, self._bounds, self._provided = values, bounds, provided

    async def _enter(self) -> Values:
        for bound in self._bounds:
            self._values.update(await self.stack.enter(bound.scope(self._provided)))
        return self._values


class _SyncScope(SyncScope):
    def __init__(self, values: Values, bounds: tuple[Bound, ...], provided: Provided) -> None:
        super().__init__()
        self._values, self._bounds, self._provided = values, bounds, provided

    def _enter(self) -> Values:
        for bound in self._bounds:
            self._values.update(self.stack.enter(bound.sync_scope(self._provided)))
        return self._values


class Injection:
    """The injectors of one application, and what they found in its functions.

    Args:
        injectors: gives the injectors whenever a function is met for the first time; by then the
            application has set up the frameworks that the function uses.
        natives: the types that are provided by annotation alone.

    Example:
        >>> def count(upto: int, log: list) -> None: ...
        >>> injection = Injection(natives=[list])
        >>> injection.of(count).names
        frozenset({'log'})
        >>> with injection.of(count).sync_scope({list: ["one"]}) as values:
        ...     values
        {'log': ['one']}
    """

    def __init__(
        self,
        injectors: Callable[[], Sequence[Injector]] = tuple,
        natives: Collection[type] = (),
    ) -> None:
        self._injectors = injectors
        self._natives = frozenset(natives)
        self._known = functools.lru_cache(maxsize=4096)(self._find)

    def unwrap(self, func: Function) -> Function:
        """The function that the frameworks' own wrappers hold; decorators of the user's stay."""
        while not _is_plain(func):
            for injector in self._injectors():
                inner = injector.unwrap(func)
                if inner is not func:
                    func = inner
                    break
            else:
                return func
        return func

    def of(self, func: Function) -> Needs:
        """What an unwrapped function needs; found out once per function.

        Raises:
            InjectionError: something it needs can never be had in a worker.
        """
        # What a function makes anew for each call would fill the memory.
        known = isinstance(func, types.FunctionType) and "<locals>" not in func.__qualname__
        return self._known(func) if known else self._find(func)

    def refusals(self, functions: Iterable[Function]) -> list[InjectionError]:
        """Which of these functions could never run, for a check before the first job comes."""
        refused = []
        for func in functions:
            try:
                self.of(self.unwrap(func))
            except InjectionError as error:
                refused.append(error)
        return refused

    def _find(self, func: Function) -> Needs:
        natives = [(p.name, h.bare) for p, h in hints(func) if is_native(h.bare, self._natives)]
        found = [(each.name, each.bind(func)) for each in self._injectors()]
        bounds = [(name, bound) for name, bound in found if bound is not None]
        if not natives and not bounds:
            return NOTHING
        order = {parameter.name: index for index, (parameter, _) in enumerate(hints(func))}
        bounds.sort(key=lambda each: _turn(each[1], order))
        needs = Needs(natives, [bound for _, bound in bounds])
        _require_each_once(func, bounds)
        _require_by_name(func, needs.names)
        return needs


def _turn(bound: Bound, order: Mapping[str, int]) -> int:
    """What it is entered by: the first of its parameters, unless others need its scope."""
    if getattr(bound, "encloses", False):
        return -1
    return min((order.get(name, -1) for name in bound.names), default=-1)


def is_native(bare: Any, natives: Collection[type]) -> bool:
    """Whether what is annotated with this type is provided by the worker itself.

    Whatever stands beside the type: `afterword.fastapi.BackgroundTasks` is an alias with a
    `Depends` for the routes in it.
    """
    return isinstance(bare, type) and bare in natives


def _is_plain(func: Function) -> bool:
    """Whether it wraps nothing: wrappers keep what they wrap as an attribute."""
    return isinstance(func, types.FunctionType) and not func.__dict__


def _require_each_once(func: Function, bounds: Sequence[tuple[str, Bound]]) -> None:
    met: dict[str, str] = {}
    for injector, bound in bounds:
        for name in bound.names:
            if name in met:
                raise InjectionError(
                    f"{name_of(func)} cannot be called: both {met[name]} and {injector} are to"
                    f" inject its parameter {name!r}. Leave one of the two markers."
                )
            met[name] = injector


def _require_by_name(func: Function, names: frozenset[str]) -> None:
    """Injected values are passed by name, which some parameters do not take."""
    for parameter, _ in hints(func):
        nameless = parameter.kind not in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if parameter.name in names and nameless:
            raise InjectionError(
                f"{name_of(func)} cannot be called: what is injected is passed by name, but its"
                f" parameter {parameter.name!r} takes none. Write it without `*`, behind the `/`."
            )
