"""Old imports: routes that still use the background tasks of FastAPI or Starlette.

Such tasks are not stored, and nothing else would show it. They are looked for once, at the start:
parameters of routes and of their dependencies, and the classes that the code of these functions
names, as for `Response(background=BackgroundTask(...))`. A function that those functions call is
not looked at.
"""

import ast
import dis
import functools
import inspect
import linecache
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.routing import BaseRoute, Mount

from afterword.model.modules import stable_name
from afterword.request.middleware import AfterwordMiddleware
from afterword.tasks import application

_MODULES = ("fastapi", "fastapi.background", "starlette.background")
_FRAMEWORKS = ("builtins", "fastapi", "pydantic", "starlette", "typing")
_METHODS = ("delete", "get", "options", "patch", "post", "put")
_LOCAL = re.compile("(LOAD|STORE)_(FAST|DEREF|CLASSDEREF|CLOSURE)")  # instructions
_SHOWN = 5  # routes named in one message


@dataclass(frozen=True, slots=True)
class OldImport:
    """A line to change, and the routes that depend on it.

    Args:
        place: file and line.
        wrong: the line.
        right: the lines to write instead.
        routes: each as "POST /users".
        is_own: False in the code of a library.
    """

    place: str
    wrong: str
    right: tuple[str, ...]
    routes: tuple[str, ...]
    is_own: bool

    def __str__(self) -> str:
        more = len(self.routes) - _SHOWN
        routes = ", ".join(self.routes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return (
            f"The background tasks of {routes} are FastAPI's or Starlette's: they are not stored,"
            f" and are lost when the process dies. Change {self.place}:\n"
            f"    {self.wrong}  # incorrect!"
            + "".join(f"\n    {line}  # correct!" for line in self.right)
        )


@dataclass(frozen=True, slots=True)
class _Use:
    """A function that uses such a class, by a parameter or in its code."""

    route: str
    func: FunctionType
    name: str
    as_parameter: bool


def find(app: Starlette) -> list[OldImport]:
    """Return the old imports behind the routes of an application, each once."""
    found: dict[tuple[str, str, tuple[str, ...], bool], dict[str, None]] = {}
    import_in = functools.cache(_import_in)  # it parses a whole module
    for use in _uses(app.routes, ""):
        place, wrong = _line_of(use, import_in)
        source = "fastapi" if use.as_parameter else "background"
        right = _right(wrong, use.name, f"afterword.{source}")
        is_own = application.is_own(stable_name(use.func.__module__))
        found.setdefault((place, wrong, right, is_own), {})[use.route] = None
    return [
        OldImport(place, wrong, right, tuple(routes), is_own)
        for (place, wrong, right, is_own), routes in found.items()
    ]


# ---------------------------------------------------------------------- routes


def _uses(routes: Iterable[BaseRoute], prefix: str) -> Iterator[_Use]:
    for route in _included(routes):
        path = f"{prefix}{getattr(route, 'path', '')}"
        inner = getattr(route, "routes", None)
        if inner is None:
            yield from _uses_of(route, path)
        elif not _has_its_own(route):
            yield from _uses(inner, path)


def _included(routes: Iterable[BaseRoute]) -> Iterator[Any]:
    """Resolve the routers that newer releases of FastAPI include when they are first needed."""
    fastapi_routing = sys.modules.get("fastapi.routing")
    contexts = getattr(fastapi_routing, "iter_route_contexts", None)
    if contexts is None:
        yield from routes
        return
    yield from contexts(list(routes))


def _has_its_own(route: Any) -> bool:
    """Return True for a mounted application with an Afterword of its own, which looks itself."""
    mount = getattr(route, "original_route", route)
    app = getattr(mount, "_base_app", None) if isinstance(mount, Mount) else None
    middleware = getattr(app, "user_middleware", ())
    return any(each.cls is AfterwordMiddleware for each in middleware)


def _uses_of(route: Any, path: str) -> Iterator[_Use]:
    methods = sorted(set(getattr(route, "methods", None) or ()) - {"HEAD"})
    endpoint = getattr(route, "endpoint", None)
    if isinstance(endpoint, type) and not methods:  # as a class, it has a function for each
        methods = [each.upper() for each in _METHODS if hasattr(endpoint, each)]
    name = f"{'/'.join(methods) or 'WebSocket'} {path}"
    dependant = getattr(route, "dependant", None)
    if dependant is not None:
        yield from _uses_in(dependant, name)
    else:
        for func in _functions_of(endpoint):
            yield from _uses_by_code(func, name)


def _uses_in(dependant: Any, route: str) -> Iterator[_Use]:
    """Find the uses in a function of FastAPI's and in its dependencies."""
    for func in _functions_of(dependant.call):
        if _is_ours(func):
            return  # it takes FastAPI's object to provide ours
        if dependant.background_tasks_param_name:
            yield _Use(route, func, "BackgroundTasks", as_parameter=True)
            break
    for func in _functions_of(dependant.call):
        yield from _uses_by_code(func, route)
    for each in dependant.dependencies:
        yield from _uses_in(each, route)


def _uses_by_code(func: FunctionType, route: str) -> Iterator[_Use]:
    if not (_is_ours(func) or _is_of_a_framework(func)):
        for name in sorted(_classes_in(func)):
            yield _Use(route, func, name, as_parameter=False)


# ---------------------------------------------------------------------- functions


def _functions_of(endpoint: Any) -> list[FunctionType]:
    """Return the functions behind an endpoint or a dependency.

    That is one with its decorators, or the methods of a class and of its bases. The one that takes
    FastAPI's parameters comes first.
    """
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    if isinstance(endpoint, type):
        found = {name: each for kind in _bases_of(endpoint) for name, each in vars(kind).items()}
        methods = [getattr(each, "__func__", each) for each in found.values()]
        functions = [each for each in methods if isinstance(each, FunctionType)]
        return sorted(functions, key=lambda each: each.__name__ != "__init__")
    wrappers: list[Any] = []  # an old class may stand in the code of a decorator
    func = getattr(endpoint, "__func__", endpoint)
    func = inspect.unwrap(func, stop=wrappers.append) if func else None
    if isinstance(func, FunctionType):
        return [func, *(each for each in wrappers if isinstance(each, FunctionType))]
    call = getattr(type(func), "__call__", None)  # noqa: B004
    return [call] if isinstance(call, FunctionType) else []


def _bases_of(kind: type) -> list[type]:
    """Return a class and its bases, the bases first, without those of the frameworks."""
    return [each for each in kind.__mro__[::-1] if not _is_of_a_framework(each)]


def _is_ours(func: Callable[..., Any]) -> bool:
    return func.__module__.partition(".")[0] == __name__.partition(".")[0]


def _is_of_a_framework(defined: Callable[..., Any]) -> bool:
    return defined.__module__.partition(".")[0] in _FRAMEWORKS


def _classes_in(func: FunctionType) -> set[str]:
    """Return the names of the classes of FastAPI or Starlette that the function's code uses."""
    cells = zip(func.__code__.co_freevars, func.__closure__ or (), strict=True)
    known = {name: _content(cell) for name, cell in cells}
    return {
        _kind(value)
        for code in _codes(func.__code__)
        for value in _values_in(code, func.__globals__, known)
    } - {""}


def _values_in(
    code: CodeType, module: dict[str, Any], known: dict[str, object]
) -> Iterator[object]:
    """Yield what code names: variables of its module, imports, and attributes of modules.

    Args:
        module: the variables of its module.
        known: local variables that hold such values, of this code and the code around it.
    """
    value: object = None
    imported = ""
    for each in dis.get_instructions(code):
        action, name = each.opname, each.argval
        if action in ("LOAD_GLOBAL", "LOAD_NAME"):
            value = module.get(name)
        elif action in ("LOAD_ATTR", "LOAD_METHOD"):
            value = _attribute(value, name)
        elif action == "IMPORT_NAME":
            imported, value = name, sys.modules.get(name.partition(".")[0])
        elif action == "IMPORT_FROM":
            value = _attribute(sys.modules.get(imported), name) or sys.modules.get(imported)
        elif "CALL" in action:
            value = None
        elif _LOCAL.match(action):
            names = name if isinstance(name, tuple) else (name,)  # some load or store two
            for verb, local in zip(re.findall("LOAD|STORE", action), names, strict=False):
                if verb == "STORE":
                    known[local] = value
                value = known.get(local)
        yield value


def _attribute(value: object, name: str) -> object:
    """Return an attribute of a module; None for anything else, whose attributes may raise."""
    return vars(value).get(name) if issubclass(type(value), ModuleType) else None


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _kind(value: object) -> str:
    """Return the name of such a class; "" for anything else."""
    kinds = (BackgroundTask, BackgroundTasks, _class_of_fastapi())
    return next((kind.__name__ for kind in kinds if kind is value), "")


def _class_of_fastapi() -> type:
    return getattr(sys.modules.get("fastapi.background"), "BackgroundTasks", BackgroundTasks)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Return the code and that of the functions inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


# ---------------------------------------------------------------------- lines


def _line_of(use: _Use, import_in: Callable[[str, str, bool], int | None]) -> tuple[str, str]:
    """Return the place and the text of the import; of the use, if the import is not there."""
    filename = _file_of(use.func)
    lines = linecache.getlines(filename)
    line = import_in(filename, use.name, use.as_parameter) or _line_in(lines, use)
    text = lines[line - 1].strip() if 0 < line <= len(lines) else use.func.__qualname__
    return f"{_shown(filename)}:{line}", text


def _right(wrong: str, name: str, module: str) -> tuple[str, ...]:
    """Return the lines that take the place of an import; what else it imports stays.

    >>> wrong = "from fastapi import BackgroundTasks, FastAPI"
    >>> _right(wrong, "BackgroundTasks", "afterword.fastapi")
    ('from fastapi import FastAPI', 'from afterword.fastapi import BackgroundTasks')
    """
    try:
        (line,) = ast.parse(wrong).body
    except (SyntaxError, ValueError):  # one of several lines
        line = None
    if not isinstance(line, ast.ImportFrom):
        return (f"from {module} import {name}",)
    others = [each for each in line.names if each.name != name]
    ours = [each for each in line.names if each.name == name]
    parts = [(line.module, others), (module, ours)]
    return tuple(ast.unparse(ast.ImportFrom(of, names, 0)) for of, names in parts if names)


def _file_of(func: FunctionType) -> str:
    """Return the file of a function; that of its module for generated code, as of a dataclass."""
    filename = func.__code__.co_filename
    if linecache.getlines(filename):
        return filename
    return getattr(sys.modules.get(func.__module__), "__file__", None) or filename


def _line_in(lines: Sequence[str], use: _Use) -> int:
    """Return the line of a function that names the class; else that of its `def`."""
    code = use.func.__code__
    own = range(code.co_firstlineno, max(line or 0 for *_, line in code.co_lines()) + 1)
    for sign in (use.name, "def "):
        for line in own:
            if line <= len(lines) and sign in lines[line - 1]:
                return line
    return code.co_firstlineno


def _import_in(filename: str, name: str, as_parameter: bool) -> int | None:
    """Return the line of a file that imports such a class; None if there is none.

    A file may import both: FastAPI's is the one of parameters.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return None
    found = [
        (node.module.startswith("fastapi") is not as_parameter, alias.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES
        for alias in node.names
        if alias.name == name
    ]
    return min(found)[1] if found else None


def _shown(filename: str) -> str:
    """Shorten a path to its part below the working directory."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
