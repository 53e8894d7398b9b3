"""Import afterword with simulated threads, queues, clocks and identifiers.

A module keeps what it has imported: `import threading` while `sys.modules` holds our stand-in gives
it ours for good. So `install` must come before any other import of afterword, in its own process.
"""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The libraries that afterword imports come first, so that they keep the real modules.
import anyio
import anyio.from_thread
import anyio.to_thread
import apsw
import fastapi
import opentelemetry.trace
import pydantic
import sqlalchemy.ext.asyncio
import starlette.routing

from simulation.primitives import STANDS
from simulation.world import World

_LEFT_OUT = ("cli", "demo", "testing", "store.postgres", "worker.processes", "__main__")

# Several threads share the modules of these folders that use threading, and the modules in _SHARED.
_ROOMS = (".", "client", "injection", "model", "process", "request", "transactions", "worker")
_SHARED = {
    "request/background.py",
    "request/bind.py",
    "request/intake.py",
    "request/middleware.py",
    "request/sequence.py",
    "transactions/statements.py",
    "worker/claims.py",
    "worker/runner.py",
}
_WITH_REAL_LOCKS = {"model/job.py"}  # created when the module was imported

_ = (anyio, apsw, fastapi, opentelemetry.trace, pydantic, sqlalchemy.ext.asyncio, starlette)


def install() -> None:
    """Import afterword with the stand-ins; a second call does nothing.

    Raises:
        RuntimeError: afterword has been imported without them.
    """
    if "afterword" in sys.modules:
        if hasattr(sys.modules["afterword"], "_simulated"):
            return
        raise RuntimeError("afterword was imported before the simulation: it has real threads.")
    real = {name: sys.modules[name] for name in STANDS}
    sys.modules.update(STANDS)
    try:
        package: Any = importlib.import_module("afterword")
        for module in pkgutil.walk_packages(package.__path__, "afterword."):
            if not module.name.removeprefix("afterword.").startswith(_LEFT_OUT):
                importlib.import_module(module.name)
        package._simulated = True
        World.interrupted = frozenset(_files(package))
    finally:
        sys.modules.update(real)
    anyio.to_thread.run_sync = _run_sync  # type: ignore[assignment]
    warnings.simplefilter("ignore")  # a process that dies leaves coroutines that were never awaited


def _files(package: Any) -> Iterator[str]:
    """Yield the paths of the modules that several threads share."""
    folder = Path(package.__path__[0])
    modules = [path for room in _ROOMS for path in (folder / room).glob("*.py")]
    names = {path.relative_to(folder).as_posix() for path in modules}
    if unknown := (_SHARED | _WITH_REAL_LOCKS) - names:
        raise RuntimeError(f"afterword has no modules {sorted(unknown)}: they were moved.")
    for path in modules:
        name = path.relative_to(folder).as_posix()
        shared = "threading" in path.read_text() or name in _SHARED
        if shared and name not in _WITH_REAL_LOCKS:
            yield str(path)


async def _run_sync(
    func: Callable[..., Any], *args: Any, abandon_on_cancel: bool = False, **_: Any
) -> Any:
    """Replace `anyio.to_thread.run_sync`, in which Starlette runs `def` endpoints."""
    import asyncio
    import contextvars

    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: context.run(func, *args))
