"""The names of modules, which are the same in every process of an application."""

import functools
import sys
from pathlib import Path
from types import ModuleType


def find_module(name: str) -> ModuleType | None:
    """Return an imported module by its stable name."""
    found = sys.modules.get(name)
    if found is None and name == _importable_name_of_main():
        found = sys.modules["__main__"]
    return found


def stable_name(module: str) -> str:
    """Replace `__main__`, which is another module in every program, by its importable name."""
    return _importable_name_of_main() if module == "__main__" else module


@functools.cache
def _importable_name_of_main() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"
