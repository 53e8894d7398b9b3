"""Tasks: the user's functions, and the names under which jobs refer to them.

A job holds no code, only a reference `module:qualname`. Stored text must never decide what is
imported or called, so a reference resolves only to

- a function that the application has registered: with `@task`, with `every`, or by
  `Afterword(tasks=[...])`;
- a function that this process itself has added;
- a task of another system, such as Celery, whose workers run it; or
- a Python function that an already imported module *of the application* defines under exactly that
  name. `afterword.tasks.application` defines which modules these are.
"""

import contextlib
import functools
import inspect
import sys
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
from afterword.fleets.others import refuse_others
from afterword.fleets.recognition import declare_via, named_task, remote_task
from afterword.fleets.remote import RemoteTask
from afterword.fleets.rq import refuse_delay
from afterword.model.modules import find_module, stable_name
from afterword.tasks import application
from afterword.tasks.options import (
    TaskOptions,
    TaskOptionsDict,
    checked_task_options,
    refuse_options_of_fleets,
)

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]

_DEFAULTS = TaskOptions()
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_registered: dict[str, Function] = {}
_options: dict[str, TaskOptions] = {}
_duplicates: dict[str, Function] = {}
_added: dict[str, Function] = {}  # those outside of the application's own modules
_remote: dict[str, Function] = {}  # tasks of other systems


@overload
def task(func: F, /, **options: Unpack[TaskOptionsDict]) -> F: ...
@overload
def task(name: str, /, **options: Unpack[TaskOptionsDict]) -> RemoteTask: ...
@overload
def task(**options: Unpack[TaskOptionsDict]) -> Callable[[F], F]: ...
def task(*func: Any, **options: Any) -> Any:
    """Register a function as a task; it remains a plain function.

    Functions of the application need it only to set options:

    >>> @task(queue="mail", retries=5, timeout=30)
    ... def send(to: str) -> None: ...

    It makes a library's function storable:

    >>> import shutil
    >>> task(shutil.rmtree, queue="disk") is shutil.rmtree
    True

    Args:
        func: the function; without it, `task(...)` returns a decorator. With `via`, it may be the
            name of a function that only the fleet has.
        options: see `TaskOptions`, also for the defaults.

    Raises:
        ConfigurationError: an option has an invalid value.
        NotStorable: the function has no name by which another process could find it.
        TypeError: not a function, or a generator function.
    """
    register = functools.partial(_register, checked_task_options(options))
    return register(*func) if func else register


def _register(options: TaskOptions, func: Any) -> Any:
    if options.via is not None:
        sent = declare_via(func, options.via)
        func = sent if isinstance(func, str) else func
    declare(func)
    if remote := remote_task(func):
        refuse_options_of_fleets(remote.system, remote.name, options)
        options.check_for(remote.func)
    else:
        options.check_for(func)
    _options[reference(func)] = options
    return func


def declare(func: Function) -> None:
    """Register a function as `@task` does, without options, so that stored text may call it.

    Raises:
        NotStorable: the function has no name by which another process could find it.
        TypeError: not a function, or a generator function.
    """
    require_callable(func)
    name = reference(func)
    if "<" in name:
        raise NotStorable(unnamed(func))
    if not isinstance(func, types.FunctionType) and remote_task(func):
        _remote[name] = func
        return
    known = _registered.setdefault(name, func)
    if known is not func:
        _registered[name] = func
        _duplicates[name] = known


def declare_all(tasks: object) -> None:
    """Register the functions and modules that `Afterword(tasks=[...])` names.

    Raises:
        ConfigurationError: `tasks` has anything else.
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
    """Return the options that `@task(...)` gave the task of this name, or the defaults."""
    return _options.get(name, _DEFAULTS)


def registered() -> dict[str, Function]:
    """Return the functions that the application has registered, by name."""
    return dict(_registered)


def names_at_hand() -> set[str]:
    """Return the names of all functions that `resolve` finds in the modules that are imported."""
    names = set(_registered) | set(_added)
    for module in [name for name in list(sys.modules) if application.is_own(name)]:
        for func in list(vars(sys.modules[module]).values()):
            name = reference(func) if isinstance(func, types.FunctionType) else ""
            if name and _find(name) is func:
                names.add(name)
    return names


def names_with_executor(executor: str) -> list[str]:
    """Return the names of the registered tasks with this executor."""
    return [name for name, options in _options.items() if options.executor == executor]


def check_names() -> None:
    """Refuse two registered functions of the same name.

    Raises:
        DuplicateTask: a later definition hides an earlier one.
    """
    for name, hidden in _duplicates.items():
        first, second = (_place(inspect.unwrap(f)) for f in (hidden, _registered[name]))
        raise DuplicateTask(
            f"Each task must have a name of its own, but {name!r} is defined twice: at {first} and"
            f" at {second}. Jobs of the first would run the second. Rename one."
        )


def _place(func: Function) -> str:
    code = getattr(func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(func)


def require_callable(func: object) -> None:
    """Refuse mistakes that would otherwise fail later, or go unnoticed.

    Raises:
        TypeError: a coroutine (the function was called), a generator function, or no callable.
        NotStorable: several messages of another system.
    """
    if isinstance(func, types.FunctionType) and not func.__code__.co_flags & _GENERATOR:
        return
    if inspect.iscoroutine(func):
        func.close()
        name = func.__qualname__
        raise TypeError(
            f"A task must be a function, but this is the coroutine that {name}(...) returned.\n"
            f"    add_task({name}(x))  # incorrect!\n"
            f"    add_task({name}, x)  # correct!"
        )
    if not callable(func):
        refuse_others(func)
        raise TypeError(
            f"A task must be a function, but this is a {type(func).__qualname__}."
            " Pass the function itself."
        )
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise TypeError(
            f"A task must not be a generator function, because it is called and not iterated, but"
            f" {reference(func)!r} is one and would do nothing. Use a function without yield."
        )


def is_async(func: Callable[..., Any]) -> bool:
    """Return True if calling it returns an awaitable."""
    if isinstance(func, types.FunctionType):
        return inspect.iscoroutinefunction(func)
    while isinstance(func, functools.partial):
        func = func.func
    call_method = getattr(type(func), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(call_method)


def is_lasting(func: Callable[..., Any]) -> bool:
    """Return False for functions that are created for each call: they would fill a cache."""
    return isinstance(func, types.FunctionType) and "<locals>" not in func.__qualname__


def reference(func: Function) -> str:
    """Return the name by which a job refers to a function: `module:qualname`."""
    if not isinstance(func, types.FunctionType) and (remote := _maybe_remote(func)):
        return remote.name
    module = stable_name(getattr(func, "__module__", None) or "")
    return f"{module}:{getattr(func, '__qualname__', '<unnamed>')}"


def _maybe_remote(func: Function) -> RemoteTask | None:
    with contextlib.suppress(NotStorable):
        return remote_task(func)
    return None


def storable(func: Function, unwrap: Callable[[Function], Function] | None = None) -> str:
    """Return the reference of a function, if every process of this application can resolve it.

    Args:
        unwrap: returns the function inside a framework's wrapper. `func` is already unwrapped; the
            functions found by name are unwrapped before they are compared with it.

    Raises:
        NotStorable: it would not be found; the message says why and how to fix it.
    """
    name = reference(func)
    if _is_same(func, _registered.get(name), unwrap):
        return name
    if not isinstance(func, types.FunctionType) and (remote := remote_task(func)):
        return _storable_remote(remote, func)
    if not isinstance(func, types.FunctionType) or "<" in name:
        raise NotStorable(unnamed(func))
    if name in _remote:
        raise NotStorable(
            f"A name stands for one task, but {name!r} is registered as a task of another system,"
            " to which its jobs would go. Give it a function of its own."
        )
    found = _find(name)
    if found is None or not _is_same(func, found, unwrap):
        refuse_delay(func)
        raise NotStorable(
            f"A stored task must be found in its module under its name, but {name!r} is not (it"
            " was redefined, reloaded or created at run time), so a worker would call another"
            " function. Give the function a name of its own at the top of a module."
        )
    module = name.partition(":")[0]
    if not application.may_be_added(module):
        raise NotStorable(
            "Stored jobs may call only functions of the application's own modules, but"
            f" {name!r} is in none of them."
            " Allow it in the module that creates Afterword, so that all processes do:\n"
            f"    Afterword(app, tasks=[{module}])  # all functions that this module defines\n"
            f"    afterword.task({module}.{func.__qualname__})  # this function only\n"
            f"The application's own modules are: {application.described()}."
        )
    if not application.is_own(module):
        _added[name] = found
    return name


def _storable_remote(remote: RemoteTask, func: Function) -> str:
    """Return the name of another system's task, if every process of this application finds it."""
    name = remote.name
    if remote is func and named_task(name) is not func:
        raise NotStorable(
            f"A name stands for one task, but task({name!r}, via=...) was called again later, with"
            " another fleet. Give each fleet a function or a name of its own."
        )
    if name in _registered:
        raise NotStorable(
            f"A name stands for one task, but {name!r} is also registered as a function, which our"
            f" own workers would run. Put our decorator above that of {remote.system}:\n"
            "    @afterword.task(priority=1)\n"
            f"    @...  # of {remote.system}"
        )
    if name in _remote or named_task(name):
        return name
    found = _find(name)
    if found is None or remote_task(found) is None:
        raise NotStorable(
            f"A {remote.system} task is stored by the name that its module has for it, but"
            f" {name!r} is not there: it was created in a function, in a class, or under another"
            " name. Define it at the top of a module, or register it: afterword.task(the_task)."
        )
    if not application.may_be_added(name.partition(":")[0]):
        raise NotStorable(
            "Stored jobs may name only tasks of the application's own modules, but"
            f" {name!r} is in none of them. Register it where Afterword is created:"
            " afterword.task(the_task)."
        )
    return name


def _is_same(
    func: Function, found: Function | None, unwrap: Callable[[Function], Function] | None
) -> bool:
    if found is func or found is None or unwrap is None:
        return found is func
    return unwrap(found) is func


def unnamed(func: Function) -> str:
    """Explain why a lambda, a closure, a method or a partial cannot be stored."""
    # Not its repr: a method's repr contains that of its object, with all its values.
    name = getattr(func, "__qualname__", None)
    kind = f"a {type(func).__module__}.{type(func).__qualname__}"
    what = repr(name) if isinstance(name, str) else kind
    return (
        f"A stored task must be a function at the top of a module, but {what} is none, so no other"
        " process can find it by name. Use a plain `def` and pass what it needs as arguments."
    )


def resolve(name: str) -> Function:
    """Return the function that a reference names; import nothing.

    Raises:
        UnknownTask: this application has no such function (a newer release may have it).
    """
    func = _registered.get(name) or _remote.get(name) or _find_own(name) or named_task(name)
    if func is None:
        raise UnknownTask(
            f"No function of this application is called {safe_repr(name)}. A job can call only"
            " functions that are registered, and those of the application's own modules that are"
            " imported. If it was renamed or removed, restore the name; if nothing imports its"
            " module, import it or name it in Afterword(tasks=[...])."
            " See: afterword doctor --app module:app"
        )
    return func


def trust(name: str) -> None:
    """Allow a task in a child process, because the parent process has resolved it."""
    func = _find(name)
    if func is not None:
        _registered.setdefault(name, func)


def _find_own(name: str) -> Function | None:
    """Return a function that the application's own modules define, or that this process added."""
    is_own = application.is_own(name.partition(":")[0])
    return _find(name) if is_own else _added.get(name)


def _find(name: str) -> Function | None:
    module_name, _, qualname = name.partition(":")
    found: Any = find_module(module_name)
    for part in qualname.split("."):
        # vars() and not getattr(): stored text must not run a property or a __getattr__.
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
        found = found.__func__ if isinstance(found, staticmethod) else found
    if isinstance(found, types.FunctionType):
        return found if reference(found) == name else None
    remote = _maybe_remote(found) if callable(found) else None
    return found if remote is not None and remote.name == name else None
