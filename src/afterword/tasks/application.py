"""The application's own modules: stored text may call the functions that these define.

Everything here adds to what may be called; nothing is a list of what may not, because such a list
never ends: there are many ways to install a package. The application's own are

1. the module that creates `Afterword(...)`, and its package: the outermost one around it that has
   an `__init__.py`;
2. what is imported from the same folder as that, unless packages are installed there;
3. the modules and packages given to `Afterword(tasks=[...])`.

The folder of 2 is the one that a module's dotted name begins in: /srv for /srv/app/main.py if that
is called `app.main`, and /srv/app if it is called `main`. A package in /srv/app/vendor that is
imported by its own name begins in another folder. Packages are installed in a folder if it has
their metadata (*.dist-info, *.egg-info), or if Python's own modules, Afterword, Starlette or
Pydantic come from there, as in an archive that holds everything.

Afterword's own modules are never the application's.

A script that has an `Afterword` without an application runs no jobs, so nothing is called there. It
cannot know the application's modules either, and may add any function that is not installed. A
child process is told what its parent knows.
"""

import functools
import os
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from afterword.errors import ConfigurationError

_PACKAGE = __name__.partition(".")[0]
_INSTALLED = ("os", _PACKAGE, "starlette", "pydantic")  # where these are, others are installed, too

_packages: set[str] = set()  # dotted names: these modules, and all below them
_folders: set[str] = set()
_scripts: set[str] = set()  # modules that only add jobs


def include(module: str) -> None:
    """Count the module that created `Afterword(app)` as the application's, with all of 1 and 2."""
    if not module or _is_ours(module):
        return
    _packages.add(_outermost(module))
    folder = _folder_of(module)
    if folder is not None and not _has_installed(folder):
        _folders.add(folder)
    _look_again()


def include_script(module: str) -> None:
    """Let functions be added by a module that created an `Afterword` without an application."""
    _scripts.add(module)
    _look_again()


def include_module(module: ModuleType) -> None:
    """Count a module that the application has named; a package with all that is below it.

    Raises:
        ConfigurationError: it is Afterword's own.
    """
    if _is_ours(module.__name__):
        raise ConfigurationError(
            f"tasks takes modules of the application, but {module.__name__} is Afterword's own."
        )
    _packages.add(stable_name(module.__name__))
    _look_again()


def known() -> dict[str, list[str]]:
    """All of this, for a child process."""
    return {"packages": sorted(_packages), "folders": sorted(_folders)}


def adopt(known: dict[str, list[str]]) -> None:
    """In a child process: know what the parent knows."""
    _packages.update(known["packages"])
    _folders.update(known["folders"])
    _look_again()


def _look_again() -> None:
    is_own.cache_clear()
    may_be_added.cache_clear()


@functools.lru_cache(maxsize=4096)
def is_own(module: str) -> bool:
    """Whether stored text may call the functions that this module defines."""
    if _is_ours(module):
        return False
    if any(module == each or module.startswith(f"{each}.") for each in _packages):
        return True
    return bool(_folders) and _folder_of(module) in _folders


@functools.lru_cache(maxsize=4096)
def may_be_added(module: str) -> bool:
    """Whether another process may call the functions that this module defines."""
    if is_own(module):
        return True
    if not _scripts or _packages or _is_ours(module):
        return False
    folder = _folder_of(module)
    return folder is None or not _has_installed(folder)


def described() -> str:
    """Which modules these are, in one line."""
    folders = [f"what is imported from {folder}" for folder in sorted(_folders)]
    return "; ".join([", ".join(sorted(_packages)) or "none", *folders])


def _is_ours(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")


def _outermost(module: str) -> str:
    """The outermost package around a module that is not a namespace; or else the module itself."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), "__file__", None):
            return package
    return module


def _folder_of(module: str) -> str | None:
    """The folder (or the archive) that the module's dotted name begins in, if there is one."""
    file = getattr(find_module(module), "__file__", None)
    if not isinstance(file, str):
        return None
    path, parts = Path(file).with_suffix(""), tuple(module.split("."))
    if path.name in ("__init__", "__main__") and parts[-1] != path.name:
        path = path.parent
    if path.parts[-len(parts) :] != parts:
        return None
    return os.path.realpath(path.parents[len(parts) - 1])


def _has_installed(folder: str) -> bool:
    if any(_folder_of(each) == folder for each in _INSTALLED):
        return True
    return any(True for _ in metadata.distributions(path=[folder]))


# ---------------------------------------------------------------------- the names of modules


def find_module(name: str) -> ModuleType | None:
    """An imported module by its stable name."""
    found = sys.modules.get(name)
    if found is None and name == _importable_name_of_main():
        found = sys.modules["__main__"]
    return found


def stable_name(module: str) -> str:
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
