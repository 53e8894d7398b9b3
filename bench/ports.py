"""Ports of this machine: find a free one, and wait for a server to listen."""

import socket
import subprocess
import time


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a started server accepts connections.

    Raises:
        SystemExit: the server has ended instead.
    """
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"{process.args!r} has ended with {process.returncode}")
