"""Injected parameters of tasks, declared as in routes: the interface to the frameworks.

    async def send(user_id: UUID, mail: Injected[Mailer], progress: Progress) -> None: ...

    add_task(send, user_id)   # mail and progress are not arguments, so they are not stored

An injector (see `injectors`) supports one framework. It is called once per function, and binds the
parameters that have the framework's marker; the caller passes the others. The web half leaves the
injected parameters out of the stored arguments, and refuses calls that could never run. The worker
opens a scope per attempt, in which the framework makes the values.

The built-in types (`TaskContext`, `Progress` and others) are injected by annotation alone. They are
registered with `native` where they are defined, and the worker provides a value for each attempt.
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
from afterword.tasks.registry import is_lasting, options_of
from afterword.tasks.signature import hints, name_of

Function = Callable[..., Any]
K = TypeVar("K", bound=type)

_builtin_types: dict[type, bool] = {}  # True for those that child processes provide, too


def native(*, in_processes: bool = False) -> Callable[[K], K]:
    """Register a type that workers provide by annotation alone.

    Args:
        in_processes: True if `@task(executor="process")` has it, too.
    """

    def register(kind: K) -> K:
        _builtin_types[kind] = in_processes
        return kind

    return register


def known_builtin_types() -> Collection[type]:
    """Return a live view of the registered types."""
    return _builtin_types.keys()


class Bound(Protocol):
    """The parameters of one function that one injector fills; `injectors.depends.BoundDepends`.

    The injectors are entered in the order of the function's parameters. One with a true attribute
    `encloses` is entered first, because dependencies of the others look for its scope.
    """

    @property
    def names(self) -> frozenset[str]:
        """The parameters it fills; none if the function needs only its scope."""

    @property
    def all_sync(self) -> bool:
        """Return True if `sync_scope` can make all values in a thread."""

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """Make the values by name for one attempt, and clean up on leaving.

        `__aexit__` receives the exception of the attempt, if it failed.
        """

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """Do the same in one thread; called only if `all_sync`."""


class Injector(Protocol):
    """The connection to one framework; `injectors.wireup.WireupInjector` is one."""

    name: str

    def unwrap(self, func: Function, /) -> Function:
        """Return the function inside a wrapper of this framework; any other unchanged."""

    def bind(self, func: Function, /) -> Bound | None:
        """Bind the parameters of a function that carry its markers; None if there are none.

        Raises:
            InjectionError: one of them can never be injected in a worker.
        """


class Needs:
    """The injected parameters of one function.

    Args:
        builtin_parameters: name and type of the parameters that the worker itself fills.
        bounds: the parameters of each framework, in the order in which they are entered.
    """

    def __init__(
        self, builtin_parameters: Iterable[tuple[str, type]], bounds: Iterable[Bound]
    ) -> None:
        self.builtin_parameters, self._bounds = tuple(builtin_parameters), tuple(bounds)
        self.scoped = bool(self._bounds)  # True if an attempt has a scope to enter and to leave
        self.names = frozenset(name for name, _ in self.builtin_parameters).union(
            *(bound.names for bound in self._bounds)
        )

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def all_sync(self) -> bool:
        """Return True if setup, body and teardown of a `def` task can share one thread.

        It may change between attempts: an `async` override may replace a `def` dependency.
        """
        return all(bound.all_sync for bound in self._bounds)

    def in_loop(self, *, is_async: bool) -> bool:
        """Return True if the scope of an attempt is entered and left in the event loop.

        Otherwise there is none, or it shares the thread of the `def` task.
        """
        return self.scoped and (is_async or not self.all_sync)

    def values(self, provided: Provided) -> Values:
        """Return the values of the built-in parameters by name; all values if not `scoped`."""
        return {name: provided[kind] for name, kind in self.builtin_parameters}

    def scope(self, provided: Provided) -> AbstractAsyncContextManager[Values]:
        """Open the scope of an attempt in an asyncio task; it gives the values by name."""
        return _Scope(self.values(provided), self._bounds, provided)

    def sync_scope(self, provided: Provided) -> AbstractContextManager[Values]:
        """Open the scope of an attempt in a thread; only if `all_sync`."""
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
    """The injectors of one application, and the needs of its functions.

    Args:
        injectors: returns the injectors. It is called for each new function; by then the
            application has set up the frameworks that the function uses.
        builtin_types: the types that are provided by annotation alone. Default: those that are
            registered with `native`.

    Example:
        >>> def count(upto: int, log: list) -> None: ...
        >>> injection = Injection(builtin_types=[list])
        >>> injection.of(count).names
        frozenset({'log'})
        >>> with injection.of(count).sync_scope({list: ["one"]}) as values:
        ...     values
        {'log': ['one']}
    """

    def __init__(
        self,
        injectors: Callable[[], Sequence[Injector]] = tuple,
        builtin_types: Collection[type] | None = None,
    ) -> None:
        self._injectors = injectors
        self._builtin_types = known_builtin_types() if builtin_types is None else builtin_types
        self._known = functools.lru_cache(maxsize=4096)(self._find)

    def become(self, other: "Injection") -> None:
        """Take the injectors of another one from now on: the application has changed."""
        self._injectors, self._builtin_types = other._injectors, other._builtin_types
        self._known.cache_clear()

    def unwrap(self, func: Function) -> Function:
        """Remove the frameworks' own wrappers from a function; keep the user's decorators."""
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
        """Return the needs of an unwrapped function; they are computed once per function.

        Raises:
            InjectionError: one of them can never be met in a worker.
        """
        return self._known(func) if is_lasting(func) else self._find(func)

    def of_task(self, name: str, func: Function) -> Needs:
        """Return the needs of a task, checked for its executor; raises as `of` does."""
        needs = self.of(func)
        if needs and options_of(name).executor == "process":
            _require_portable(func, needs)
        return needs

    def refusals(self, tasks: Mapping[str, Function]) -> dict[str, InjectionError]:
        """Return the tasks that could never run, with the reasons; for a check at start-up."""
        refused = {}
        for name, func in tasks.items():
            try:
                self.of_task(name, self.unwrap(func))
            except InjectionError as error:
                refused[name] = error
        return refused

    def _find(self, func: Function) -> Needs:
        builtin_parameters = [
            (parameter.name, kind)
            for parameter, hint in hints(func)
            if (kind := builtin_type_of(hint.bare, self._builtin_types)) is not None
        ]
        found = [(each.name, each.bind(func)) for each in self._injectors()]
        bounds = [(name, bound) for name, bound in found if bound is not None]
        if not builtin_parameters and not bounds:
            return NOTHING
        order = {parameter.name: index for index, (parameter, _) in enumerate(hints(func))}
        bounds.sort(key=lambda each: _turn(each[1], order))
        needs = Needs(builtin_parameters, [bound for _, bound in bounds])
        _require_each_once(func, bounds)
        _require_by_name(func, needs.names)
        return needs


def refused_by_all(
    injections: Sequence[Injection], tasks: Mapping[str, Function]
) -> dict[str, InjectionError]:
    """Return the tasks that none of several applications can run, with the first one's reasons."""
    first, *others = injections
    refused = first.refusals(tasks)
    for other in others:
        still = other.refusals({name: tasks[name] for name in refused})
        refused = {name: refused[name] for name in still}
    return refused


def checked_injectors(injectors: object) -> Sequence[Injector]:
    """Return a list of injectors unchanged.

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
    """Return its sort key: the position of its first parameter, or -1 if others need its scope."""
    if getattr(bound, "encloses", False):
        return -1
    return min((order.get(name, -1) for name in bound.names), default=-1)


def builtin_type_of(bare: Any, builtin_types: Collection[type]) -> type | None:
    """Return the built-in type of an annotation, if it is one.

    Metadata does not matter: `afterword.fastapi.BackgroundTasks` is an alias that contains a
    `Depends` for the routes.
    """
    if not isinstance(bare, type):
        return None
    if bare in builtin_types:
        return bare
    # FastAPI's class is derived from Starlette's, and users derive from either.
    is_tasks = BackgroundTasks in builtin_types and issubclass(bare, BackgroundTasks)
    return BackgroundTasks if is_tasks else None


def _is_plain(func: Function) -> bool:
    """Return True if it wraps nothing: wrappers keep the wrapped function as an attribute."""
    return isinstance(func, types.FunctionType) and not func.__dict__


def _require_each_once(func: Function, bounds: Sequence[tuple[str, Bound]]) -> None:
    met: dict[str, str] = {}
    for injector, bound in bounds:
        for name in bound.names:
            if name in met:
                raise InjectionError(
                    f"A parameter can be injected by one framework only, but {name!r} of"
                    f" {name_of(func)} has markers of both {met[name]} and {injector}. Remove one."
                )
            met[name] = injector


def _require_by_name(func: Function, names: frozenset[str]) -> None:
    """Refuse injected parameters that cannot be passed by name."""
    for parameter, _ in hints(func):
        nameless = parameter.kind not in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if parameter.name in names and nameless:
            raise InjectionError(
                f"An injected parameter must be one that can be passed by name, but"
                f" {parameter.name!r} of {name_of(func)} cannot. Write it without `*`, and after"
                " the `/`."
            )


def _require_portable(func: Function, needs: Needs) -> None:
    """Refuse needs that a child process cannot meet: it has no container and no request."""
    there = sorted(kind.__name__ for kind, in_processes in _builtin_types.items() if in_processes)
    given = {name for name, kind in needs.builtin_parameters if _builtin_types.get(kind)}
    for name in sorted(needs.names - given):
        raise InjectionError(
            f"{name_of(func)} runs in a process of its own (executor='process'), where only"
            f" {' and '.join(there)} can be injected, but its parameter {name!r} needs something"
            " else. Create that in the task, or run the task without executor='process'."
        )
