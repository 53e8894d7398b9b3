"""Finding the application: where `fastapi run` would, and where `[tool.afterword]` says.

1. the command line's argument: `module:app`, or a path such as `app/main.py`
2. `AFTERWORD_APP`
3. `[tool.afterword] app`, then `[tool.fastapi] entrypoint`, in pyproject.toml
4. main.py, app.py, api.py, app/main.py, app/app.py, app/api.py: the first that exists

Only these name what is imported, never anything stored. The current directory is importable, as it
is for `uvicorn`. Name the application as the web server does: a task is called by its module, and
`app.main:send` is another task than `main:send`.
"""

import importlib
import inspect
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from afterword.app import Afterword
from afterword.errors import ConfigurationError
from afterword.request.middleware import AfterwordMiddleware
from afterword.tasks.application import include

VARIABLE = "AFTERWORD_APP"
_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_NAMES = ("app", "api")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_WAYS = (
    "Name it, as the web server does: afterword worker main:app\n"
    'or in pyproject.toml:\n    [tool.afterword]\n    app = "main:app"'
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an application is to be found; nothing has been imported yet.

    Args:
        module: its dotted name.
        name: what the module calls it; None if that has to be found out.
        folder: where the module is imported from.
        source: who says so, for messages.
    """

    module: str
    name: str | None
    folder: Path
    source: str


@dataclass(frozen=True, slots=True)
class Application:
    """What was found: `asgi` is served, `afterword` belongs to it."""

    asgi: ASGIApp
    afterword: Afterword
    name: str  # module:app, whatever the way it was found


def find_application(argument: str | None = None) -> Application:
    """Import the application.

    Raises:
        ConfigurationError: there is none, it is something else, or it has no Afterword.
    """
    return load(locate(argument))


# ---------------------------------------------------------------------- where it is


def locate(argument: str | None = None) -> Target:
    """Where the application is, by the first rule that applies.

    Raises:
        ConfigurationError: no rule does, or what it names cannot be a module or a file.
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
    """`module:app`, `module`, `path.py`, `path.py:app`, or the directory of a package."""
    drive, rest = os.path.splitdrive(value)  # its colon is not ours
    place, _, name = rest.rpartition(":") if ":" in rest else (rest, "", "")
    path = Path(drive + place)
    if path.suffix == ".py" or {"/", os.sep} & set(place) or (path / "__init__.py").is_file():
        return _of_file(path, name or None, source)
    if not _MODULE.fullmatch(place) or (name and not _MODULE.fullmatch(name)):
        raise ConfigurationError(
            f"An application is named as module:app or by a path to a .py file, but {source}"
            f" says {value!r}.\n{_WAYS}"
        )
    return Target(place, name or None, Path.cwd(), source)


def _of_file(path: Path, name: str | None, source: str) -> Target:
    """The module of a file: the packages around it, as far as they have an `__init__.py`."""
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
    """Import what a target names.

    Raises:
        ConfigurationError: there is no such module, no such application, or no Afterword in it.
    """
    module = _imported(target)
    include(target.module)  # also if the Afterword is made elsewhere
    name = target.name or _only_name(vars(module), target)
    asgi = _attribute(module, name, target)
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
            raise  # the application's own import failed: its traceback says where
        raise ConfigurationError(
            f"There is no module {missing!r} in {target.folder}, but {target.source} names"
            f" {target.module!r}.\n{_WAYS}"
        ) from error


def _attribute(module: Any, name: str, target: Target) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(
                f"{target.module!r} has no {name!r}, but {target.source} names it."
                f" It has {_applications(vars(module)) or 'no application at all'}."
            )
        found = getattr(found, part)
    return found


def _only_name(values: dict[str, Any], target: Target) -> str:
    """What a module calls its application: app, api, or whatever the only one is called."""
    names = _applications(values)
    for name in _NAMES:
        if name in names:
            return name
    if len({id(values[name]) for name in names}) == 1:
        return names[0]
    found = f"several: {names}" if names else "none"
    raise ConfigurationError(
        f"{target.module!r} ({target.source}) should have one FastAPI or Starlette application,"
        f" called app or api, but it has {found}.\n{_WAYS}"
    )


def _applications(values: dict[str, Any]) -> list[str]:
    return [name for name, value in values.items() if _starlette(value) is not None]


def _starlette(application: Any) -> Starlette | None:
    """The Starlette application inside ASGI middleware, which keeps it as `.app`."""
    for _ in range(100):  # nobody wraps it that often: a circle
        if isinstance(application, Starlette):
            return application
        if not callable(application) or isinstance(application, type):
            return None
        # vars() and not getattr(): this looks at every object of a module.
        application = vars(application).get("app") if hasattr(application, "__dict__") else None
    return None


def _no_application(name: str, value: object) -> str:
    if inspect.isfunction(value):
        return (
            f"{name} should be a FastAPI or Starlette application, but it is a function. If it"
            f" makes one, call it in the module: app = {value.__name__}()"
        )
    return (
        f"{name} should be a FastAPI or Starlette application, or ASGI middleware with one as its"
        f" attribute `app`, but it is of type {type(value).__qualname__}."
    )


def _afterword_of(application: Starlette, name: str) -> Afterword:
    for middleware in application.user_middleware:
        host = middleware.kwargs.get("host")
        kind: object = middleware.cls
        if kind is AfterwordMiddleware and isinstance(host, Afterword):
            return host
    raise ConfigurationError(
        f"{name} has no Afterword, so there is nothing to work on. Put this behind the line that"
        " makes the application:\n    afterword = Afterword(app)"
    )
