"""Empty stores, one for each measurement: SQLite files, PostgreSQL databases, Redis.

Servers are started when first needed and stopped at the end, on a free port of 127.0.0.1, with
settings for production: PostgreSQL with its defaults (fsync, full page writes), Redis with its
append-only file, which is written to the disk each second. Other servers can be given by URL.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from bench.catalogue import Kind
from bench.ports import free_port, wait_for
from tests.postgres import Cluster, Server

_REDIS = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]


@dataclass(frozen=True, slots=True)
class Store:
    """An empty store.

    Args:
        url: its address.
        server: the id of the process that serves it; None if there is none, or if it is unknown.
    """

    url: str
    server: int | None = None


class Stores:
    """A context manager that gives out empty stores.

    Args:
        folder: a folder for the data of files and servers. Default: the system's temporary folder.
        postgres_url: a server, with a role that may create databases. Default: a private one.
        redis_url: a server with an empty database. Default: a private one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        postgres_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        self.folder = folder
        self._postgres_url, self._redis_url = postgres_url, redis_url
        self._postgres: Server | None = None
        self._redis: _Redis | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Stores":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def empty(self, kind: Kind) -> Iterator[Store]:
        """Make a store of this kind, and remove it at the end of the block."""
        if kind is Kind.SQLITE:
            with tempfile.TemporaryDirectory(prefix="afterword-bench-", dir=self.folder) as folder:
                yield Store(f"sqlite:///{folder}/jobs.db")
        elif kind is Kind.POSTGRESQL:
            server = self._postgres = self._postgres or self._start_postgres()
            with server.database() as url:
                yield Store(url, _postmaster(server))
        else:
            redis = self._redis = self._redis or self._start_redis()
            redis.flush()
            yield Store(redis.url, redis.pid)
            redis.flush()

    def versions(self) -> Sequence[str]:
        """Return the versions of the servers that were used."""
        found = []
        if self._postgres:
            found.append(f"PostgreSQL {self._postgres.execute('SHOW server_version')[0][0]}")
        if self._redis:
            found.append(f"Redis {self._redis.version()}")
        return found

    def _start_postgres(self) -> Server:
        if self._postgres_url:
            return Server(self._postgres_url)
        with_defaults = Cluster(  # settings that tests switch off, or make smaller
            fsync="on",
            full_page_writes="on",
            shared_buffers="128MB",
            wal_level="replica",
            max_wal_senders="10",
        )
        return self._stack.enter_context(with_defaults)

    def _start_redis(self) -> "_Redis":
        if self._redis_url:
            redis = _Redis(self._redis_url)
            redis.require_empty()
            return redis
        return self._stack.enter_context(_private_redis(self.folder))


def _postmaster(server: Server) -> int | None:
    if not isinstance(server, Cluster):
        return None
    return int((server.folder / "data" / "postmaster.pid").read_text().split()[0])


# ---------------------------------------------------------------------- Redis


class _Redis:
    """A minimal Redis client for the commands that are needed here."""

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url, self.pid = url, pid

    def flush(self) -> None:
        self._call("FLUSHDB")

    def require_empty(self) -> None:
        if (size := self._call("DBSIZE")) != ":0":
            raise SystemExit(
                f"scripts/bench empties the Redis database that it is given, and {self.url} holds"
                f" {size[1:]} keys. Give another one, such as redis://127.0.0.1:6379/9."
            )

    def version(self) -> str:
        lines = self._call("INFO server").splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith("redis_version:"))

    def _call(self, command: str) -> str:
        parts = urlsplit(self.url)
        database = parts.path.strip("/") or "0"
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379)) as peer:
            lines = [f"AUTH {parts.password}"] * bool(parts.password) + [f"SELECT {database}"]
            peer.sendall("".join(f"{line}\r\n" for line in [*lines, command, "QUIT"]).encode())
            answers = b"".join(iter(lambda: peer.recv(65_536), b"")).decode()
        for _ in lines:
            answers = answers.partition("\r\n")[2]
        if answers.startswith("-"):
            raise SystemExit(f"Redis said {answers!r} to {command}.")
        return answers.removesuffix("+OK\r\n").strip()


@contextmanager
def _private_redis(parent: Path | None) -> Iterator[_Redis]:
    program = _redis_server()
    with tempfile.TemporaryDirectory(prefix="afterword-bench-", dir=parent) as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, *_REDIS]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            yield _Redis(f"redis://127.0.0.1:{port}/0", process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _redis_server() -> str:
    """Return the program; installs Debian's package if it is missing."""
    if found := shutil.which("redis-server"):
        return found
    if os.geteuid() or not shutil.which("apt-get"):
        raise SystemExit(
            "scripts/bench needs redis-server: apt-get install redis-server, or --redis-url."
        )
    print("installing redis-server with apt-get", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-qqy", "redis-server"]):
        subprocess.run(
            ["apt-get", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL
        )
    return "redis-server"
