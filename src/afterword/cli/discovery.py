"""Discovery of the application, as `fastapi run` does it, and by `[tool.afterword]`.

1. the command line's argument: `module:app`, `module:create_app()` for a factory, or a path such as
   `app/main.py`
2. `AFTERWORD_APP`
3. `[tool.afterword] app`, then `[tool.fastapi] entrypoint`, in pyproject.toml
4. main.py, app.py, api.py, app/main.py, app/app.py, app/api.py: the first that exists

Nothing else decides what is imported, in particular nothing stored. The current directory is
importable, as with `uvicorn`. Name the application as the web server does: the name of a task
contains its module, so `app.main:send` and `main:send` are different tasks.
"""

import importlib
import inspect
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from afterword.app import Afterword
from afterword.errors import ConfigurationError, kind_of
from afterword.request.middleware import AfterwordMiddleware
from afterword.tasks.application import include

VARIABLE = "AFTERWORD_APP"
_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_NAMES = ("app", "api")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_WAYS = (
    "Name it as the web server does, such as main:app,\n"
    'or in pyproject.toml:\n    [tool.afterword]\n    app = "main:app"'
)


@dataclass(frozen=True, slots=True)
class Target:
    """The place of an application, which has not been imported yet.

    Args:
        module: the dotted name of its module.
        name: its name in the module, or that of its factory with `()`; None if it is to be searched
            for.
        folder: the folder from which the module is imported.
        source: where this was configured, for messages.
    """

    module: str
    name: str | None
    folder: Path
    source: str


@dataclass(frozen=True, slots=True)
class Application:
    """An imported application: `asgi` is served, `afterword` belongs to it."""

    asgi: ASGIApp
    afterword: Afterword
    name: str  # module:app, however it was found


def find_application(argument: str | None = None) -> Application:
    """Import the application.

    Raises:
        ConfigurationError: there is none, it is not an application, or it has no Afterword.
    """
    return load(locate(argument))


# ---------------------------------------------------------------------- where it is


def locate(argument: str | None = None) -> Target:
    """Locate the application by the first rule that applies.

    Raises:
        ConfigurationError: no rule applies, or it names neither a module nor a file.
    """
    for source, value in _named(argument):
        return _parsed(value, source)
    for file in _FILES:
        if Path(file).is_file():
            return _of_file(Path(file), None, f"found as {file}")
    tried = ", ".join(
        ["an argument", VARIABLE, "pyproject.toml ([tool.afterword], [tool.fastapi])", *_FILES]
    )
    raise ConfigurationError(f"No application was found in {Path.cwd()}. Tried: {tried}.\n{_WAYS}")


def _named(argument: str | None) -> Iterator[tuple[str, str]]:
    if argument is not None:
        yield "the command line", argument
    if from_environment := os.environ.get(VARIABLE):
        yield VARIABLE, from_environment
    tool = _project().get("tool", {})
    for table, key in (("afterword", "app"), ("fastapi", "entrypoint")):
        settings = tool.get(table)
        if isinstance(settings, dict) and (value := settings.get(key)):
            yield f"[tool.{table}] {key} in pyproject.toml", str(value)


def _project() -> dict[str, Any]:
    path = Path("pyproject.toml")
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path.resolve()} cannot be read: {error}.") from error


def _parsed(value: str, source: str) -> Target:
    """Parse `module:app`, `module`, `path.py`, `path.py:app`, or the directory of a package."""
    drive, rest = os.path.splitdrive(value)  # a drive has a colon of its own
    place, _, name = rest.rpartition(":") if ":" in rest else (rest, "", "")
    path = Path(drive + place)
    if path.suffix == ".py" or {"/", os.sep} & set(place) or (path / "__init__.py").is_file():
        return _of_file(path, name or None, source)
    if not _MODULE.fullmatch(place) or (name and not _MODULE.fullmatch(_without_call(name))):
        raise ConfigurationError(
            f"An application must be named as module:app or by the path of a .py file, but {source}"
            f" has {value!r}.\n{_WAYS}"
        )
    return Target(place, name or None, Path.cwd(), source)


def _of_file(path: Path, name: str | None, source: str) -> Target:
    """Locate the module of a file, inside the packages around it that have an `__init__.py`."""
    if not path.exists():
        raise ConfigurationError(
            f"There is no file {path.resolve()}, but {source} names it.\n{_WAYS}"
        )
    path = path.resolve()
    if path.name == "__init__.py":
        path = path.parent
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return Target(".".join(parts), name, folder, source)


# ---------------------------------------------------------------------- what it is


def load(target: Target) -> Application:
    """Import the application of a target.

    Raises:
        ConfigurationError: there is no such module, no such application, or no Afterword in it.
    """
    module = _imported(target)
    include(target.module)  # needed if the Afterword is created in another module
    name = target.name or _only_name(vars(module), target)
    asgi = _attribute(module, _without_call(name), target)
    if name != _without_call(name):
        asgi = _made_by(asgi, f"{target.module}:{name}")
    full_name = f"{target.module}:{name}"
    inner = _starlette(asgi)
    if inner is None:
        raise ConfigurationError(_no_application(full_name, asgi))
    return Application(asgi, _afterword_of(inner, full_name), full_name)


def _imported(target: Target) -> Any:
    for folder in (str(target.folder), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        return importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if target.module != missing and not target.module.startswith(f"{missing}."):
            raise  # an import of the application itself failed: its traceback shows where
        raise _no_module(missing, target) from error


def require_module(target: Target) -> None:
    """Look for the module, or the package around it, without an import.

    Raises:
        ConfigurationError: there is none.
    """
    name = target.module.partition(".")[0]
    folders = [str(target.folder), str(Path.cwd()), *sys.path]
    if PathFinder.find_spec(name, folders) is None:
        raise _no_module(name, target)


def _no_module(name: str, target: Target) -> ConfigurationError:
    return ConfigurationError(
        f"There is no module {name!r} in {target.folder}, but {target.source} names"
        f" {target.module!r}.\n{_WAYS}"
    )


def _without_call(name: str) -> str:
    return name.removesuffix("()")


def _attribute(module: Any, name: str, target: Target) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(
                f"{target.module!r} has no {name!r}, but {target.source} names it."
                f" It has {', '.join(_applications(vars(module))) or 'no application at all'}."
            )
        found = getattr(found, part)
    return found


def _made_by(factory: Any, name: str) -> Any:
    if not inspect.isfunction(factory):
        raise ConfigurationError(
            f"{name} must call a function that makes an application, but it calls one"
            f" {kind_of(factory)}. Leave out the () if it is the application itself."
        )
    return factory()


def _only_name(values: dict[str, Any], target: Target) -> str:
    """Return the name of a module's application: app, api, or that of the only one."""
    names = _applications(values)
    for name in _NAMES:
        if name in names:
            return name
    if len({id(values[name]) for name in names}) == 1:
        return names[0]
    found = f"several: {', '.join(names)}" if names else "none"
    raise ConfigurationError(
        f"{target.module!r} ({target.source}) must have one FastAPI or Starlette application,"
        f" called app or api, but it has {found}.\n{_WAYS}"
    )


def _applications(values: dict[str, Any]) -> list[str]:
    return [name for name, value in values.items() if _starlette(value) is not None]


def _starlette(application: Any) -> Starlette | None:
    """Return the Starlette application inside ASGI middleware, which keeps it as `.app`."""
    for _ in range(100):  # more layers than that must be a cycle
        if isinstance(application, Starlette):
            return application
        if not callable(application) or isinstance(application, type):
            return None
        # vars() and not getattr(): every object of the module is inspected.
        application = vars(application).get("app") if hasattr(application, "__dict__") else None
    return None


def _no_application(name: str, value: object) -> str:
    if inspect.isfunction(value):
        return (
            f"{name} must be a FastAPI or Starlette application, but it is a function. If it"
            f" makes one, write {name}()"
        )
    return (
        f"{name} must be a FastAPI or Starlette application, or ASGI middleware with one as its"
        f" attribute `app`, but it is of type {type(value).__qualname__}."
    )


def _afterword_of(application: Starlette, name: str) -> Afterword:
    for middleware in application.user_middleware:
        host = middleware.kwargs.get("host")
        kind: object = middleware.cls
        if kind is AfterwordMiddleware and isinstance(host, Afterword):
            return host
    raise ConfigurationError(
        f"{name} must have an Afterword, but it has none. Put this after the line that creates the"
        " application:\n    afterword = Afterword(app)"
    )
