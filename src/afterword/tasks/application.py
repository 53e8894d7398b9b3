"""The application's own modules: stored text may call only functions that these define.

This is a list of what may be called. A list of what may not would never be complete, because there
are many ways to install a package. The application's own modules are

1. the module that creates `Afterword(...)`, that which calls `install(app)`, and the outermost
   package around each that has an `__init__.py`;
2. modules that are imported from the same folder, unless packages are installed there;
3. the modules and packages given to `Afterword(tasks=[...])`.

The folder of rule 2 is the one where a module's dotted name begins: /srv for /srv/app/main.py if
its name is `app.main`, and /srv/app if its name is `main`. A package in /srv/app/vendor that is
imported by its own name begins in another folder. A folder counts as one with installed packages if
it has package metadata (*.dist-info, *.egg-info), or if Python's own modules, Afterword, Starlette
or Pydantic are imported from it, as in an archive that holds everything.

Afterword's own modules are never the application's.

A script that has an `Afterword` without an application runs no jobs. It has no list of the
application's modules either, so it may add any function that is not in an installed package. A
child process receives the list of its parent.
"""

import functools
import os
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from afterword.errors import ConfigurationError
from afterword.model.modules import find_module, stable_name

_PACKAGE = __name__.partition(".")[0]
# A folder that one of these is imported from has installed packages.
_INSTALLED = ("os", _PACKAGE, "starlette", "pydantic")

_packages: set[str] = set()  # dotted names: these modules, and all below them
_folders: set[str] = set()
_scripts: set[str] = set()  # modules that only add jobs


def include(module: str) -> None:
    """Add the module that created `Afterword(app)`, by the rules 1 and 2."""
    if not module or _is_ours(module):
        return
    _packages.add(_outermost(module))
    folder = _folder_of(module)
    if folder is not None and not _has_installed(folder):
        _folders.add(folder)
    _look_again()


def include_script(module: str) -> None:
    """Add a module that created an `Afterword` without an application, so that it may add jobs."""
    _scripts.add(module)
    _look_again()


def include_module(module: ModuleType) -> None:
    """Add a module that the application has named (rule 3); a package with all modules below it.

    Raises:
        ConfigurationError: it is one of Afterword's own.
    """
    if _is_ours(module.__name__):
        raise ConfigurationError(
            f"tasks must name modules of the application, but {module.__name__} is one of"
            " Afterword's own. Leave it out."
        )
    _packages.add(stable_name(module.__name__))
    _look_again()


def known() -> dict[str, list[str]]:
    """Return the application's modules, for a child process to `adopt`."""
    return {"packages": sorted(_packages), "folders": sorted(_folders)}


def adopt(known: dict[str, list[str]]) -> None:
    """Take over the application's modules of the parent, in a child process."""
    _packages.update(known["packages"])
    _folders.update(known["folders"])
    _look_again()


def _look_again() -> None:
    is_own.cache_clear()
    may_be_added.cache_clear()


@functools.lru_cache(maxsize=4096)
def is_own(module: str) -> bool:
    """Return True if stored text may call the functions that this module defines."""
    if _is_ours(module):
        return False
    if any(module == each or module.startswith(f"{each}.") for each in _packages):
        return True
    return bool(_folders) and _folder_of(module) in _folders


@functools.lru_cache(maxsize=4096)
def may_be_added(module: str) -> bool:
    """Return True if functions of this module may be added, for another process to call."""
    if is_own(module):
        return True
    if not _scripts or _packages or _is_ours(module):
        return False
    folder = _folder_of(module)
    return folder is None or not _has_installed(folder)


def described() -> str:
    """Describe the application's modules in one line."""
    folders = [f"modules imported from {folder}" for folder in sorted(_folders)]
    return "; ".join([", ".join(sorted(_packages)) or "none", *folders])


def _is_ours(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")


def _outermost(module: str) -> str:
    """Return the outermost package around a module that has a file; else the module itself."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), "__file__", None):
            return package
    return module


def _folder_of(module: str) -> str | None:
    """Return the folder (or archive) in which the module's dotted name begins, if there is one."""
    file = getattr(find_module(module), "__file__", None)
    return _beginning(module, file) if isinstance(file, str) else None


@functools.lru_cache(maxsize=4096)
def _beginning(module: str, file: str) -> str | None:
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
