"""The demo's server: uvicorn in a process of its own, which can be killed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from afterword.errors import AfterwordError

START_WITHIN = 30.0  # seconds
_HOST = "127.0.0.1"


class DemoFailed(AfterwordError):
    """The demonstration could not be carried out; not the same as a lost task."""


class Server:
    """A uvicorn process, which ends with its `with` block.

    Args:
        application: `module:name`, as uvicorn takes it.
        folder: its working directory, also for its log.
        environment: variables added to this process's environment.
    """

    def __init__(self, application: str, folder: Path, environment: dict[str, str]) -> None:
        self.port = _free_port()
        self.log = folder / "server.log"
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._command = [
            *(sys.executable, "-m", "uvicorn", application, "--host", _HOST),
            *("--port", str(self.port), "--no-access-log"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return _HOST, self.port

    @property
    def pid(self) -> int:
        """The id of the present process."""
        return self._running.pid

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "not started"  # noqa: S101
        return self._process

    def start(self) -> None:
        """Start the process, and wait until it accepts connections.

        Raises:
            DemoFailed: it ended, or took too long.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which ends it
            )
        deadline = time.monotonic() + START_WITHIN
        while not self._answers():
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"The server did not start within {START_WITHIN:g} s. See {self.log}."
                )
            time.sleep(0.02)

    def _answers(self) -> bool:
        if self._running.poll() is not None:
            raise DemoFailed(f"The server ended instead of starting:\n{self.log.read_text()}")
        try:
            socket.create_connection(self.address, timeout=1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Send SIGKILL, so that the process cannot clean up."""
        self._running.kill()
        self._running.wait()

    def wait(self) -> None:
        """Wait until the process has ended."""
        self._running.wait()

    def stop(self, within: float = 10.0) -> None:
        """Send SIGTERM, as a deployment does; SIGKILL if that takes too long."""
        self._running.terminate()
        try:
            self._running.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
