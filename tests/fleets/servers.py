"""Redis and RabbitMQ servers, and workers of other systems, as processes of the tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import ROOT, free_port, wait_until

STARTS_WITHIN = 120.0  # seconds, on a busy machine
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's, without its change of user


def has_redis() -> bool:
    return shutil.which("redis-server") is not None


def has_rabbitmq() -> bool:
    return RABBITMQ.exists()


class Broker:
    """A server process that can be stopped, started again, and frozen.

    Args:
        url: the broker's address, for its clients.
    """

    def __init__(
        self, url: str, port: int, command: Sequence[str], environment: dict[str, str], folder: Path
    ) -> None:
        self.url = url
        self.port = port
        self._command, self._folder = command, folder
        self.environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, description=f"{self.url} answers", timeout=STARTS_WITHIN)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop answering: the kernel still accepts connections."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


@contextmanager
def redis_server(folder: Path) -> Iterator[Broker]:
    """Run a Redis server that keeps its data when it is stopped."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    yield from _running(Broker(f"redis://127.0.0.1:{port}/0", port, command, {}, folder))


@contextmanager
def rabbitmq_server(folder: Path) -> Iterator[Broker]:
    """Run a RabbitMQ server with its own node, ports and files."""
    port = free_port()
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"  # kombu takes //, pika does not
    yield from _running(Broker(url, port, [str(RABBITMQ)], environment, folder))


def _running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def worker(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of another system as `python -m ...` from the root of the project."""
    log = folder / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with_group = os.getpgid(process.pid) == process.pid
        if with_group and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
