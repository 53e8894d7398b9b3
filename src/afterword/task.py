"""Tasks: the user's functions, and the names under which jobs refer to them.

A job holds no code, only a reference `module:qualname`. Stored text must never decide what is
imported or called, so a reference resolves only to

- a function registered with `@task`, or
- a Python function that an already imported module *of the application* defines under that very
  name: not of the standard library, and not of site-packages, unless it belongs to the package in
  which `Afterword(...)` was created (applications are installed there, too).
"""

import functools
import inspect
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

from afterword.errors import DuplicateTask, NotStorable, UnknownTask, safe_repr
from afterword.task_options import TaskOptions, TaskOptionsDict

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]

_DEFAULTS = TaskOptions()
_registered: dict[str, Function] = {}
_options: dict[str, TaskOptions] = {}
_duplicates: dict[str, Function] = {}
_application_packages: set[str] = set()


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
    require_callable(func)
    name = reference(func)
    if "<" in name:
        raise NotStorable(unnamed(func))
    known = _registered.setdefault(name, func)
    if known is not func:
        _registered[name] = func
        _duplicates[name] = known
    options.check_for(func)
    _options[name] = options
    return func


def options_of(name: str) -> TaskOptions:
    """What `@task(...)` said about the task of this name; the defaults if nothing did."""
    return _options.get(name, _DEFAULTS)


def registered() -> dict[str, Function]:
    """The functions registered with `@task`, by name."""
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
    module = _stable_module_name(getattr(func, "__module__", None) or "")
    return f"{module}:{getattr(func, '__qualname__', '<unnamed>')}"


def _stable_module_name(module: str) -> str:
    """`__main__` is another module in every program: use the name it can be imported by."""
    return _importable_name_of_main() if module == "__main__" else module


@functools.cache
def _importable_name_of_main() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


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
    if not _is_same(func, _find(name), unwrap):
        raise NotStorable(
            f"{name!r} is not what that module holds under this name now (redefined, reloaded or"
            " made at run time), so a worker would call something else."
            " Give the function a name of its own at the top of a module."
        )
    if not _belongs_to_application(name.partition(":")[0]):
        raise NotStorable(
            f"{name!r} belongs to the standard library or an installed package, and stored text"
            f" must not call those. Register it with afterword.task({func.__qualname__}),"
            " or wrap it in a function of your own."
        )
    return name


def _is_same(
    func: Function, found: Function | None, unwrap: Callable[[Function], Function] | None
) -> bool:
    if found is func or found is None or unwrap is None:
        return found is func
    return unwrap(found) is func


def unnamed(func: Function) -> str:
    """Why a lambda, a closure, a method or a partial cannot be stored."""
    kind = "functools.partial" if isinstance(func, functools.partial) else safe_repr(func)
    return (
        f"A stored task must be a function at the top of a module, but this is {kind}, which no"
        " other process can find by name. Use a plain `def` and pass what it needs as arguments."
    )


def resolve(name: str) -> Function:
    """The function a reference names. Imports nothing.

    Raises:
        UnknownTask: this application has no such function (it may be of a newer release).
    """
    if func := _registered.get(name):
        return func
    func = _find(name)
    if func is None or not _belongs_to_application(name.partition(":")[0]):
        raise UnknownTask(
            f"No function of this application is called {name!r}. Jobs find functions in imported"
            " modules only: was it renamed or removed, or does nothing import its module?"
        )
    return func


def _find(name: str) -> Function | None:
    module_name, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module_name)
    if found is None and module_name == _importable_name_of_main():
        found = sys.modules["__main__"]
    for part in qualname.split("."):
        # vars() and not getattr(): stored text must not run a property or a __getattr__.
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
        found = found.__func__ if isinstance(found, staticmethod) else found
    if isinstance(found, types.FunctionType) and reference(found) == name:
        return found
    return None


def allow_package(module: str) -> None:
    """Count the package of this module as part of the application, wherever it is installed."""
    _application_packages.add(module.partition(".")[0])


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(
        Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")
    )


def _belongs_to_application(module_name: str) -> bool:
    top = module_name.partition(".")[0]
    if top in _application_packages:
        return True
    return top not in sys.stdlib_module_names and not _is_installed(module_name)


@functools.lru_cache(maxsize=4096)
def _is_installed(module_name: str) -> bool:
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    return any(folder in Path(file).resolve().parents for folder in _library_folders())
