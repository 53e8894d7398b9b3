"""Imports point down the layers, and the two halves share the store and the job only."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "afterword"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE

# Every module, by its first name: "stores" stands for stores.sqlite, too.
LAYERS = {
    "words": "errors clock fork job outcome records signals threads url",
    "rules": "task arguments payload options retry recurrence schedule archive policy task_options"
    " application scalars call results signature scope lifecycle injection injectors",
    "telemetry": "telemetry",
    "rest": "adder store handle keeper operation aside group_commit holdings leases stores"
    " connections transactions",
    "request": "access background inline outbox storing intake sequence idempotency asgi starlette"
    " fastapi bind bound_session"
    " jobs_router job_status",
    "work": "wireup progress workplace completion context executor ends runner claims prefetch"
    " in_process processes worker scheduler upkeep",
    "around": "dashboard testing demo lifespan lifeline supervisor termination watchdog",
    "facade": "__init__ app cli in_task pytest_plugin __main__",
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names.split()}

# What a module of each layer may import, beside its own layer.
BELOW = {
    "words": set[str](),
    "telemetry": {"words"},
    "rules": {"words"},
    "rest": {"words", "rules", "telemetry"},
    "request": {"words", "rules", "telemetry", "rest"},
    "work": {"words", "rules", "telemetry", "rest"},
    "around": {"words", "rules", "telemetry", "rest", "request", "work", "facade"},
    "facade": set(LAYERS),
}
HALVES = {"request", "work"}

# Stored bytes are data, never code: nothing here may load objects or modules by what they say.
FORBIDDEN = {"pickle", "marshal", "shelve", "import_module", "__import__"}
# But for the application that the command line names, and for what a parent has its child import.
IMPORTERS = {"afterword.cli.discovery", "afterword.processes.child"}


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


def first_name(module: str) -> str:
    """Return the name that the table knows: afterword.stores.sqlite is "stores"."""
    return module.removeprefix(PACKAGE).lstrip(".").partition(".")[0] or "__init__"


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
    layer = LAYER_OF[first_name(module)]
    targets = list(own_imports(module, tree, known))
    met = [
        upward(module, layer, target, line)
        for target, line in targets
        if not may_import(layer, target)
    ]
    reached = {LAYER_OF.get(first_name(target)) for target, _ in targets}
    if layer == "around" and HALVES.issubset(reached):
        met.append(joined(module))
    return met


def may_import(layer: str, target: str) -> bool:
    return LAYER_OF.get(first_name(target)) in BELOW[layer] | {layer}


def upward(module: str, layer: str, target: str, line: int) -> str:
    allowed = ", ".join(sorted(BELOW[layer] | {layer}))
    above = LAYER_OF.get(first_name(target), "no layer")
    return (
        f"Imports point down: {module} ({layer}) may import from {allowed} only, "
        f"but line {line} imports {target} ({above}). Move what is needed down a layer, "
        f"or let afterword.app pass it in."
    )


def joined(module: str) -> str:
    facade = LAYERS["facade"].replace(" ", ", ")
    return (
        f"The web half and the worker half share the store and the job, and nothing else: only "
        f"{facade} may know both, but {module} imports from request and from work. "
        f"Ask afterword.app for one of them."
    )


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
        f"Words are pure values: {module} may import the standard library only, but line "
        f"{found.line} imports {found.name}. Move what needs it to a layer above."
        for found in imports(tree, package_of(module, known))
        if found.name.partition(".")[0] not in sys.stdlib_module_names | {PACKAGE}
    ]


MODULES = modules()
KNOWN = set(MODULES)
WORDS = [module for module in MODULES if LAYER_OF.get(first_name(module)) == "words"]


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"), MODULES[module])


def test_every_module_has_a_layer() -> None:
    strangers = sorted({first_name(module) for module in MODULES} - set(LAYER_OF))

    assert strangers == [], f"Every module has a layer: add {strangers} to LAYERS in {__file__}."


@pytest.mark.parametrize("module", [name for name in MODULES if first_name(name) in LAYER_OF])
def test_imports_point_down(module: str) -> None:
    met = breaches(module, parse(module), KNOWN)

    assert met == [], "\n".join(met)


@pytest.mark.parametrize("module", WORDS)
def test_words_import_the_standard_library_only(module: str) -> None:
    met = foreign_imports(module, parse(module), KNOWN)

    assert met == [], "\n".join(met)


@pytest.mark.parametrize("module", MODULES)
def test_stored_bytes_never_become_code(module: str) -> None:
    met = forbidden_names(module, parse(module))

    assert met == [], "\n".join(met)


# The rule itself is tested on a package that exists only here.
EXAMPLE = {
    PACKAGE,
    *(f"{PACKAGE}.{name}" for name in LAYER_OF if name != "__init__"),
    "afterword.stores.sqlite",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("afterword.outcome", "from afterword.job import Job"),
        ("afterword.outcome", "from .job import Job"),
        ("afterword.task", "from . import errors"),
        ("afterword.stores.sqlite", "from ..store import Store"),
        ("afterword.stores", "from .sqlite import SQLiteStore"),
        ("afterword.store", "def open_store(url):\n    from afterword.stores import sqlite"),
        ("afterword.worker", "import afterword.telemetry"),
        ("afterword.starlette", "import starlette.background"),
        ("afterword.demo", "from afterword import Afterword\nfrom afterword.fastapi import x"),
        ("afterword.app", "from afterword import asgi, worker, cli, dashboard"),
        ("afterword", "from .background import BackgroundTasks\nfrom .injection import Progress"),
    ],
)
def test_the_rule_allows(module: str, source: str) -> None:
    met = breaches(module, ast.parse(source), EXAMPLE)

    assert met == []


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("afterword.job", "from afterword.task import Task", "afterword.task (rules)"),
        ("afterword.job", "from afterword import Afterword", "afterword (facade)"),
        ("afterword.job", "import afterword", "afterword (facade)"),
        ("afterword.retry", "from . import telemetry", "afterword.telemetry (telemetry)"),
        ("afterword.telemetry", "from .task import Task", "afterword.task (rules)"),
        ("afterword.stores.sqlite", "from ..asgi import x", "afterword.asgi (request)"),
        ("afterword.stores", "from .. import app", "afterword.app (facade)"),
        ("afterword.asgi", "from afterword.worker import Worker", "afterword.worker (work)"),
        ("afterword.worker", "def f():\n    import afterword.asgi", "afterword.asgi (request)"),
        (
            "afterword.upkeep",
            "if TYPE_CHECKING:\n    from .dashboard import x",
            "afterword.dashboard (around)",
        ),
        ("afterword.dashboard", "from . import asgi, worker", "only __init__, app, cli"),
        ("afterword.task", "from afterword.unknown import x", "(no layer)"),
    ],
)
def test_the_rule_refuses(module: str, source: str, target: str) -> None:
    met = breaches(module, ast.parse(source), EXAMPLE)

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
    met = forbidden_names("afterword.job", ast.parse(source))

    assert len(met) == 1


def test_foreign_imports_are_found() -> None:
    tree = ast.parse("import json, pydantic\nfrom .errors import x\nfrom afterword import clock")

    met = foreign_imports("afterword.job", tree, EXAMPLE)

    assert len(met) == 1
    assert "pydantic" in met[0]
