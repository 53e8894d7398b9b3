"""Tasks: the user's functions, and the names under which jobs refer to them.

A job holds no code, only a reference `module:qualname`. Stored text must never decide what is
imported or called, so a reference resolves only to

- a function that the application has registered: with `@task`, with `every`, or by
  `Afterword(tasks=[...])`;
- one that it has added in this very process; or
- a Python function that an already imported module *of the application* defines under that very
  name. Which modules these are: `afterword.tasks.application`.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from afterword.errors import (
    ConfigurationError,
    DuplicateTask,
    NotStorable,
    UnknownTask,
    safe_repr,
)
from afterword.tasks import application
from afterword.tasks.options import TaskOptions, TaskOptionsDict

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]

_DEFAULTS = TaskOptions()
_registered: dict[str, Function] = {}
_options: dict[str, TaskOptions] = {}
_duplicates: dict[str, Function] = {}
_added: dict[str, Function] = {}  # outside of the application's own modules


@overload
def task(func: F, /, **options: Unpack[TaskOptionsDict]) -> F: ...
@overload
def task(**options: Unpack[TaskOptionsDict]) -> Callable[[F], F]: ...
def task(*func: Any, **options: Any) -> Any:
    """Register a function as a task; it stays the plain function it is.

    Not needed for functions of the application, unless one has options:

    >>> @task(queue="mail", retries=5, timeout=30)
    ... def send(to: str) -> None: ...

    It makes a library's function storable:

    >>> import shutil
    >>> task(shutil.rmtree, queue="disk") is shutil.rmtree
    True

    Args:
        func: the function; without it, what decorates one.
        options: see `TaskOptions`; what is not said has the default that is given there.

    Raises:
        ConfigurationError: an option has a value it cannot have.
        NotStorable: the function has no name under which another process could find it.
        TypeError: not a function, or one that yields.
    """
    register = functools.partial(_register, TaskOptions(**options))
    return register(*func) if func else register


def _register(options: TaskOptions, func: F) -> F:
    declare(func)
    options.check_for(func)
    _options[reference(func)] = options
    return func


def declare(func: Function) -> None:
    """Let stored text call a function, as `@task` does, but without options.

    Raises:
        NotStorable: the function has no name under which another process could find it.
        TypeError: not a function, or one that yields.
    """
    require_callable(func)
    name = reference(func)
    if "<" in name:
        raise NotStorable(unnamed(func))
    known = _registered.setdefault(name, func)
    if known is not func:
        _registered[name] = func
        _duplicates[name] = known


def declare_all(tasks: object) -> None:
    """What `Afterword(tasks=[...])` names: functions, and modules that define some.

    Raises:
        ConfigurationError: something else.
    """
    if not isinstance(tasks, list | tuple):
        raise ConfigurationError(f"{_TASKS} but it is {safe_repr(tasks)}. {_TASKS_EXAMPLE}")
    for each in tasks:
        if isinstance(each, types.ModuleType):
            application.include_module(each)
        elif callable(each):
            declare(each)
        else:
            raise ConfigurationError(f"{_TASKS} but it has {safe_repr(each)}. {_TASKS_EXAMPLE}")


_TASKS = "tasks must be a list of modules and functions,"
_TASKS_EXAMPLE = "Example: import company.mail; Afterword(app, tasks=[company.mail])."


def options_of(name: str) -> TaskOptions:
    """What `@task(...)` said about the task of this name; the defaults if nothing did."""
    return _options.get(name, _DEFAULTS)


def registered() -> dict[str, Function]:
    """The functions that the application has registered, by name."""
    return dict(_registered)


def names_with_executor(executor: str) -> list[str]:
    """The registered tasks that say how they run."""
    return [name for name, options in _options.items() if options.executor == executor]


def check_names() -> None:
    """Refuse to start with two registered functions of one name.

    Raises:
        DuplicateTask: a later definition hides an earlier one.
    """
    for name, hidden in _duplicates.items():
        first, second = (_place(inspect.unwrap(f)) for f in (hidden, _registered[name]))
        raise DuplicateTask(
            f"Each task must have a name of its own, but {name!r} is defined twice:"
            f" at {first} and at {second}. Jobs of the first would run the second. Rename one."
        )


def _place(func: Function) -> str:
    code = getattr(func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(func)


def require_callable(func: object) -> None:
    """Refuse the slips that would otherwise fail later, or never be noticed.

    Raises:
        TypeError: a coroutine (the function was called), a generator function, not a callable.
    """
    if inspect.iscoroutine(func):
        func.close()
        name = func.__qualname__
        raise TypeError(
            f"A task is a function, but this is the coroutine that {name}(...) returned.\n"
            f"    add_task({name}(x))  # incorrect!\n"
            f"    add_task({name}, x)  # correct!"
        )
    if not callable(func):
        raise TypeError(
            f"A task is a function, but this is a {type(func).__qualname__}: pass the function."
        )
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise TypeError(
            f"A task is called, not iterated, so the generator function {reference(func)!r} would"
            " do nothing. Use a function without yield."
        )


def is_async(func: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    while isinstance(func, functools.partial):
        func = func.func
    call_method = getattr(type(func), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(call_method)


def reference(func: Function) -> str:
    """The name a job keeps of a function: `module:qualname`."""
    module = application.stable_name(getattr(func, "__module__", None) or "")
    return f"{module}:{getattr(func, '__qualname__', '<unnamed>')}"


def storable(func: Function, unwrap: Callable[[Function], Function] | None = None) -> str:
    """The reference of a function that any process of this application will find again.

    Args:
        unwrap: what is called in place of what is found, and in place of what `func` was.

    Raises:
        NotStorable: it would not be found; the message says why and what to do.
    """
    name = reference(func)
    if _is_same(func, _registered.get(name), unwrap):
        return name
    if not isinstance(func, types.FunctionType) or "<" in name:
        raise NotStorable(unnamed(func))
    found = _find(name)
    if found is None or not _is_same(func, found, unwrap):
        raise NotStorable(
            f"{name!r} is not what that module holds under this name now (redefined, reloaded or"
            " made at run time), so a worker would call something else."
            " Give the function a name of its own at the top of a module."
        )
    module = name.partition(":")[0]
    if not application.may_be_added(module):
        raise NotStorable(
            f"{name!r} is in none of the application's own modules, and stored text calls no others."
            " Let it call this one, in the module that creates Afterword, so that each process"
            " knows:\n"
            f"    Afterword(app, tasks=[{module}])  # all functions that this module defines\n"
            f"    afterword.task({module}.{func.__qualname__})  # this function only\n"
            f"The application's own modules are: {application.described()}."
        )
    if not application.is_own(module):
        _added[name] = found
    return name


def _is_same(
    func: Function, found: Function | None, unwrap: Callable[[Function], Function] | None
) -> bool:
    if found is func or found is None or unwrap is None:
        return found is func
    return unwrap(found) is func


def unnamed(func: Function) -> str:
    """Why a lambda, a closure, a method or a partial cannot be stored."""
    # Not its repr: that of a method has that of its object, with all the values in it.
    name = getattr(func, "__qualname__", None)
    kind = f"a {type(func).__module__}.{type(func).__qualname__}"
    what = repr(name) if isinstance(name, str) else kind
    return (
        f"A stored task must be a function at the top of a module, but {what} is none, so no other"
        " process can find it by name. Use a plain `def` and pass what it needs as arguments."
    )


def resolve(name: str) -> Function:
    """The function a reference names. Imports nothing.

    Raises:
        UnknownTask: this application has no such function (it may be of a newer release).
    """
    if func := _registered.get(name):
        return func
    func = _find(name)
    if func is not None and not application.is_own(name.partition(":")[0]):
        func = _added.get(name)
    if func is None:
        raise UnknownTask(
            f"No function of this application is called {safe_repr(name)}. Jobs find functions that"
            " are registered, and those of the application's own modules, as far as they are"
            " imported: was it renamed or removed, does nothing import its module, or is that to be"
            " named in Afterword(tasks=[...])? See: afterword doctor --app module:app"
        )
    return func


def trust(name: str) -> None:
    """In a child process: let this task be called, because the parent has found it."""
    func = _find(name)
    if func is not None:
        _registered.setdefault(name, func)


def _find(name: str) -> Function | None:
    module_name, _, qualname = name.partition(":")
    found: Any = application.find_module(module_name)
    for part in qualname.split("."):
        # vars() and not getattr(): stored text must not run a property or a __getattr__.
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
        found = found.__func__ if isinstance(found, staticmethod) else found
    if isinstance(found, types.FunctionType) and reference(found) == name:
        return found
    return None
