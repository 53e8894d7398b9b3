"""A PgBouncer in transaction mode before a private server, for scripts/test-postgres.

python -m tests.pgbouncer COMMAND...    run it with AFTERWORD_TEST_POSTGRES leading through that
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence

import psycopg

from tests.helpers import quiet_port, wait_until
from tests.postgres import GIVEN, USER, Cluster, Server

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
server_idle_timeout = 1
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
"""


def main(command: Sequence[str]) -> int:
    """Run a command behind PgBouncer."""
    port = quiet_port()
    with Cluster() as cluster:
        file = cluster.folder / "pgbouncer.ini"
        settings = SETTINGS.format(server=cluster.port, port=port)
        file.write_text(settings.replace("* = host", "* = user=postgres host"))
        bouncer = _start(str(file))
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_until(lambda: _answers(url), description="PgBouncer answers")
            return subprocess.run(command, env={**os.environ, GIVEN: url}, check=False).returncode
        finally:
            bouncer.kill()
            bouncer.wait()


def _start(settings: str) -> "subprocess.Popen[bytes]":
    other = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None  # it, too, refuses root
    return subprocess.Popen(["pgbouncer", "-q", settings], user=other)


def _answers(url: str) -> bool:
    try:
        return Server(url).execute("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
