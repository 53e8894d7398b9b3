"""Helpers of several tests: real servers in their own processes, and waiting."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests import warm

ROOT = Path(__file__).parent.parent


def wait_until(
    predicate: Callable[[], object],
    *,
    description: str,
    timeout: float = 60.0,
    every: float | None = None,
) -> None:
    """Wait until the predicate holds; fail with the description if it never does."""
    deadline = time.monotonic() + timeout
    pause = pauses()
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {description}")
        time.sleep(every or next(pause))


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each check: 5 ms at first, then longer, up to 50 ms.

    A check takes CPU time from the code that is waited for.
    """
    pause = 0.005
    while True:
        yield pause
        pause = min(1.2 * pause, 0.05)


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quiet_port() -> int:
    """Return a free port that no outgoing connection gets by chance while its server is down."""
    for port in random.choices(range(15_000, 32_000), k=100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("found no free port")


class Server:
    """A real uvicorn process that serves `module:app`.

    Args:
        target: the application, as uvicorn's argument; modules in `folder` are found.
        folder: its working directory; stores and logs go there.
        environment: variables, in addition to this process's own.
        arguments: more uvicorn options.
    """

    def __init__(
        self,
        target: str,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self._command = [
            *(sys.executable, "-m", "uvicorn", target, "--host", "127.0.0.1"),
            *("--port", str(self.port), "--app-dir", str(folder), "--no-access-log", *arguments),
        ]
        paths = (str(folder), str(ROOT), os.environ.get("PYTHONPATH", ""))
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **(environment or {}),
        }
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "Server":
        """Start the process, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = warm.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        if wait:
            wait_until(self.answers, description=f"{self._command} answers; see {self.log}")
        return self

    def answers(self) -> bool:
        """Return True if the server accepts connections; fails if it has ended."""
        assert self.process.poll() is None, f"the server has ended:\n{self.log.read_text()}"
        return self.accepts()

    def accepts(self) -> bool:
        """Return True if a process accepts connections at its address."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
        except OSError:
            return False
        return True

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The running process."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """Send SIGKILL: the process has no chance to clean up."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 60.0) -> int:
        """Send SIGTERM and wait for the end; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def pause(self) -> None:
        """Send SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> httpx.Client:
        """Return a client with the server's address as its base."""
        # Loading the certificates of all authorities would take 40 ms.
        return httpx.Client(base_url=self.url, timeout=30.0, verify=False)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start the server, and kill it afterwards if it still runs."""
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.resume()
            server.kill()


def is_gone(pid: int) -> bool:
    """Return True if a process has ended, even if its new parent has not reaped it."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
