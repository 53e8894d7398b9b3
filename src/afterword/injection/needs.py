"""What a task declares as the routes do, and gets where it runs: the seam to the frameworks.

    async def send(user_id: UUID, mail: Injected[Mailer], progress: Progress) -> None: ...

    add_task(send, user_id)   # mail and progress are no arguments: nothing of them is stored

An injector (see `injectors`) knows one framework. Asked once per function, it binds those
parameters that carry the framework's marker; the rest stays the caller's. Both halves ask: the web
half to leave the injected parameters out of the stored arguments, and to refuse at once what could
never run; the worker to open a scope per attempt, in which the framework makes what is needed.

`TaskContext`, `Progress` and their like are given by annotation alone; who defines such a type says
so (`native`), and the worker provides it for each attempt.
"""

import functools
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeVar

from starlette.background import BackgroundTasks

from afterword.errors import ConfigurationError, InjectionError, safe_repr
from afterword.injection.scope import AsyncScope, Provided, SyncScope, Values
from afterword.tasks.registry import options_of
from afterword.tasks.signature import hints, name_of

Function = Callable[..., Any]
K = TypeVar("K", bound=type)

_natives: dict[type, bool] = {}  # and whether it is there in child processes, too


def native(*, in_processes: bool = False) -> Callable[[K], K]:
    """Say of a type that a worker provides it by annotation alone.

    Args:
        in_processes: also where `@task(executor="process")` runs.
    """

    def register(kind: K) -> K:
        _natives[kind] = in_processes
        return kind

    return register


def natives_known() -> Collection[type]:
    """The types of which this has been said, also later on."""
    return _natives.keys()


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
        self.natives, self._bounds = tuple(natives), tuple(bounds)
        self.scoped = bool(self._bounds)  # whether an attempt has something to enter and to leave
        self.names = frozenset(name for name, _ in self.natives).union(
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
        return {name: provided[kind] for name, kind in self.natives}

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """The values by name, for an attempt in an asyncio task; see `scope`."""
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
        natives: the types that are provided by annotation alone. Default: those that say so.

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
        natives: Collection[type] | None = None,
    ) -> None:
        self._injectors = injectors
        self._natives = natives_known() if natives is None else natives
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

    def of_task(self, name: str, func: Function) -> Needs:
        """What the task of this name needs, where it runs; errors as of `of`."""
        needs = self.of(func)
        if needs and options_of(name).executor == "process":
            _require_portable(func, needs)
        return needs

    def refusals(self, tasks: Mapping[str, Function]) -> dict[str, InjectionError]:
        """Which of these tasks could never run, for a check before the first job comes."""
        refused = {}
        for name, func in tasks.items():
            try:
                self.of_task(name, self.unwrap(func))
            except InjectionError as error:
                refused[name] = error
        return refused

    def _find(self, func: Function) -> Needs:
        asked = [(each.name, native_of(hint.bare, self._natives)) for each, hint in hints(func)]
        natives = [(name, kind) for name, kind in asked if kind is not None]
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


def refused_by_all(
    injections: Sequence[Injection], tasks: Mapping[str, Function]
) -> dict[str, InjectionError]:
    """The tasks that none of several applications could run, and what the first one says."""
    first, *others = injections
    refused = first.refusals(tasks)
    for other in others:
        still = other.refusals({name: tasks[name] for name in refused})
        refused = {name: refused[name] for name in still}
    return refused


def checked_injectors(injectors: object) -> Sequence[Injector]:
    """A list of injectors, each of a framework of its own.

    Raises:
        ConfigurationError: it is something else.
    """
    each_is_one = isinstance(injectors, Sequence) and all(
        callable(getattr(each, "bind", None)) and isinstance(getattr(each, "name", None), str)
        for each in injectors
    )
    if not each_is_one:
        raise ConfigurationError(
            f"injectors must be a list of injectors, but it is {safe_repr(injectors)}."
            " Example: injectors=[WireupInjector(container)]."
        )
    return injectors  # type: ignore[return-value]


def _turn(bound: Bound, order: Mapping[str, int]) -> int:
    """What it is entered by: the first of its parameters, unless others need its scope."""
    if getattr(bound, "encloses", False):
        return -1
    return min((order.get(name, -1) for name in bound.names), default=-1)


def native_of(bare: Any, natives: Collection[type]) -> type | None:
    """The type that the worker itself provides for what is annotated with `bare`, if it does.

    Whatever stands beside the type: `afterword.fastapi.BackgroundTasks` is an alias with a
    `Depends` for the routes in it.
    """
    if not isinstance(bare, type):
        return None
    if bare in natives:
        return bare
    # FastAPI's own is derived from Starlette's, and users derive of it, too.
    is_tasks = BackgroundTasks in natives and issubclass(bare, BackgroundTasks)
    return BackgroundTasks if is_tasks else None


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


def _require_portable(func: Function, needs: Needs) -> None:
    """In a child process there is no container, and no request's dependency."""
    there = sorted(kind.__name__ for kind, in_processes in _natives.items() if in_processes)
    given = {name for name, kind in needs.natives if _natives.get(kind)}
    for name in sorted(needs.names - given):
        raise InjectionError(
            f"{name_of(func)} runs in a process of its own (executor='process'), where only"
            f" {' and '.join(there)} can be injected, but its parameter {name!r} asks for something"
            " else. Make that in the task, or run the task without executor='process'."
        )
