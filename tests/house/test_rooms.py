"""Imports between the rooms point one way; the two halves share the store and the job only."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = "afterword"
SOURCE = ROOT / "src" / PACKAGE

# The rooms, and the rooms that each may import from, besides itself. A room of the package is a
# folder; modules directly under the package may import from all of them.
ROOMS = {
    "errors": set[str](),
    "model": {"errors"},
    "telemetry": {"errors", "model"},
    "fleets": {"errors", "model"},
    "tasks": {"errors", "model", "fleets"},
    "injection": {"errors", "model", "fleets", "tasks"},
    "store": {"errors", "model", "telemetry"},
    "client": {"errors", "model", "telemetry", "fleets", "tasks", "injection", "store"},
    "transactions": {"errors", "model", "telemetry", "store", "client"},
    "schedules": {
        "errors",
        "model",
        "telemetry",
        "fleets",
        "tasks",
        "injection",
        "store",
        "client",
    },
    "process": {"errors", "model"},
    "admin": {"errors", "model", "telemetry", "fleets", "tasks", "injection", "store", "client"},
}
BELOW = set(ROOMS) - {"schedules", "process", "admin"}
ROOMS["exporter"] = {"errors", "model", "telemetry", "store", "admin"}
ROOMS["dashboard"] = BELOW | {"schedules", "admin"}
ROOMS["request"] = BELOW  # the two halves share the store and the job, and nothing else
ROOMS["worker"] = BELOW
TOP = "top"

# Stored bytes are data, never code: no module here may load objects or modules that they name.
FORBIDDEN = {"pickle", "marshal", "shelve", "import_module", "__import__"}
# Except the application that the command line names, and modules that a parent's child imports.
IMPORTERS = {"afterword.cli.discovery", "afterword.worker.processes.child"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, as `import a.b` (a.b) or `from a import b` (a.b) spell it."""

    name: str
    line: int


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name; a package by its own name."""
    files = {file.relative_to(SOURCE.parent): file for file in sorted(SOURCE.rglob("*.py"))}
    return {dotted(path): file for path, file in files.items()}


def dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room of a module: that of afterword.store.sqlite is "store"."""
    first = module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]
    return first if first in ROOMS else TOP


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Find all imports, those inside functions and `if TYPE_CHECKING` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(node, package)
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)


def origin(node: ast.ImportFrom, package: str) -> str:
    """Return what `from ... import` names, with its leading dots resolved."""
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def imported_module(name: str, known: set[str]) -> str | None:
    """Return the module of ours that an import reaches: afterword.job.Job is in afterword.job."""
    if name != PACKAGE and not name.startswith(f"{PACKAGE}."):
        return None
    parent = name.rpartition(".")[0]
    return parent if name not in known and parent in known else name


def own_imports(module: str, tree: ast.AST, known: set[str]) -> Iterator[tuple[str, int]]:
    for found in imports(tree, package_of(module, known)):
        target = imported_module(found.name, known)
        if target is not None:
            yield target, found.line


def package_of(module: str, known: set[str]) -> str:
    is_package = module == PACKAGE or any(name.startswith(f"{module}.") for name in known)
    return module if is_package else module.rpartition(".")[0]


def breaches(module: str, tree: ast.AST, known: set[str]) -> list[str]:
    """Say which imports of a module break the rule, and how to mend them."""
    room = room_of(module)
    if room == TOP:
        return []
    return [
        f"Imports point one way: {module} ({room}) may import from"
        f" {', '.join(sorted(ROOMS[room] | {room}))} only, but line {line} imports {target}"
        f" ({room_of(target)}). Move what is needed into one of those rooms, or let afterword.app"
        " pass it in."
        for target, line in own_imports(module, tree, known)
        if room_of(target) not in ROOMS[room] | {room}
    ]


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Find every name that code uses, reaches by a dot, or imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name, node.lineno
            case ast.Import() | ast.ImportFrom():
                yield from imported_names(node)


def imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, int]]:
    spelled = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        spelled.append(node.module or "")
    yield from ((part, node.lineno) for name in spelled for part in name.split("."))


def forbidden_names(module: str, tree: ast.AST) -> list[str]:
    return [
        f"Stored bytes never become code: {module} line {line} uses {name}. Encode with "
        f"afterword.arguments, and resolve tasks from those that are registered."
        for name, line in names(tree)
        if name in FORBIDDEN and module not in IMPORTERS
    ]


def foreign_imports(module: str, tree: ast.AST, known: set[str]) -> list[str]:
    return [
        f"The model is pure values: {module} may import the standard library only, but line "
        f"{found.line} imports {found.name}. Move what needs it to another room."
        for found in imports(tree, package_of(module, known))
        if found.name.partition(".")[0] not in sys.stdlib_module_names | {PACKAGE}
    ]


MODULES = modules()
KNOWN = set(MODULES)
MODEL = [module for module in MODULES if room_of(module) in {"model", "errors"}]


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"), MODULES[module])


@pytest.mark.parametrize("room", [*ROOMS, TOP])
def test_imports_point_one_way(room: str) -> None:
    met = [
        breach
        for module in MODULES
        if room_of(module) == room
        for breach in breaches(module, parse(module), KNOWN)
    ]

    assert met == [], "\n".join(met)


def test_the_rooms_have_an_order() -> None:
    left = dict(ROOMS)
    while free := [room for room, below in left.items() if not below & set(left)]:
        for room in free:
            del left[room]

    assert left == {}, "These rooms import each other in a circle."


@pytest.mark.parametrize("room", [each for each in ROOMS if (SOURCE / each).is_dir()])
def test_a_room_says_what_lives_there(room: str) -> None:
    page = ast.get_docstring(parse(f"{PACKAGE}.{room}")) or ""

    assert len(page.splitlines()) > 2


def test_few_modules_are_in_no_room() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= 16


@pytest.mark.parametrize("module", MODEL)
def test_the_model_imports_the_standard_library_only(module: str) -> None:
    met = foreign_imports(module, parse(module), KNOWN)

    assert met == [], "\n".join(met)


def test_stored_bytes_never_become_code() -> None:
    met = [each for module in MODULES for each in forbidden_names(module, parse(module))]

    assert met == [], "\n".join(met)


# The rule itself is tested on a package that exists only here.
EXAMPLE = {
    PACKAGE,
    *(f"{PACKAGE}.{name}" for name in ROOMS),
    "afterword.app",
    "afterword.cli",
    "afterword.model.job",
    "afterword.store.sqlite",
    "afterword.request.middleware",
    "afterword.worker.runner",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("afterword.model.outcome", "from afterword.model.job import Job"),
        ("afterword.model.outcome", "from .job import Job"),
        ("afterword.tasks.registry", "from .. import errors"),
        ("afterword.store.sqlite", "from ..store import Store"),
        ("afterword.store", "from .sqlite import SQLiteStore"),
        ("afterword.store", "def open_store(url):\n    from afterword.store import sqlite"),
        ("afterword.worker.runner", "import afterword.telemetry"),
        ("afterword.request.background", "import starlette.background"),
        ("afterword.app", "from afterword import request, worker, cli, schedules"),
        ("afterword", "from .request import BackgroundTasks\nfrom .injection import Progress"),
    ],
)
def test_the_rule_allows(module: str, source: str) -> None:
    met = breaches(module, ast.parse(source), EXAMPLE | {module})

    assert met == []


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("afterword.model.job", "from afterword.tasks import Task", "afterword.tasks (tasks)"),
        ("afterword.model.job", "from afterword import Afterword", "afterword (top)"),
        ("afterword.model.job", "import afterword", "afterword (top)"),
        ("afterword.tasks.retry", "from .. import telemetry", "afterword.telemetry (telemetry)"),
        ("afterword.telemetry", "from .tasks import Task", "afterword.tasks (tasks)"),
        ("afterword.store.sqlite", "from ..request import x", "afterword.request (request)"),
        ("afterword.store", "from .. import app", "afterword.app (top)"),
        ("afterword.request.outbox", "from afterword.worker import x", "afterword.worker (worker)"),
        ("afterword.worker.runner", "def f():\n    import afterword.request", "(request)"),
        (
            "afterword.client.upkeep",
            "if TYPE_CHECKING:\n    from ..cli import x",
            "afterword.cli (top)",
        ),
        ("afterword.tasks", "from afterword.unknown import x", "(top)"),
    ],
)
def test_the_rule_refuses(module: str, source: str, target: str) -> None:
    met = breaches(module, ast.parse(source), EXAMPLE | {module})

    assert len(met) == 1
    assert target in met[0]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import shelve as s",
        "__import__('os')",
        "importlib.import_module('os')",
        "from importlib import import_module as load",
    ],
)
def test_code_loading_is_found(source: str) -> None:
    met = forbidden_names("afterword.model.job", ast.parse(source))

    assert len(met) == 1


def test_foreign_imports_are_found() -> None:
    tree = ast.parse(
        "import json, pydantic\nfrom ..errors import x\nfrom afterword.model import clock"
    )

    met = foreign_imports("afterword.model.job", tree, EXAMPLE)

    assert len(met) == 1
    assert "pydantic" in met[0]
