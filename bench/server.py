"""A uvicorn server set up for benchmarks: uvloop, httptools, no access log."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.environments import ROOT
from bench.ports import free_port, wait_for
from bench.process import cpu_seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the process and its descendants so far."""
        return cpu_seconds([self.process.pid])


@contextmanager
def running(
    application: str,
    store: str,
    environment: Mapping[str, str] | None = None,
    *,
    processes: int = 1,
) -> Iterator[Server]:
    """Run the application `module:name` on the store with this URL, until the end of the block."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", application, "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
        *(["--workers", str(processes)] if processes > 1 else []),
    ]
    settings = {**os.environ, "AFTERWORD_URL": store, **(environment or {})}
    process = subprocess.Popen(command, cwd=ROOT, env=settings)
    try:
        wait_for(port, process)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(30)
