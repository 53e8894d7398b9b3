"""The PostgreSQL servers of the tests, and the proxy before them, do what other tests rely on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.helpers import ROOT, wait_until
from tests.postgres import Cluster, Server
from tests.proxy import Proxy, through

OWNER = """
import sys
from tests.postgres import Cluster

with Cluster() as cluster:
    print(cluster.folder, flush=True)
    sys.stdin.read()
"""


def _answer(connection: "psycopg.Connection[tuple[object, ...]]") -> object:
    row = connection.execute("SELECT 42").fetchone()
    assert row is not None
    return row[0]


def test_a_database_is_new_and_empty(new_postgres_url: str) -> None:
    with psycopg.connect(new_postgres_url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone()

    assert (0,) == found


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_ends_the_sessions_and_keeps_the_data(cluster: Cluster, mode: str) -> None:
    url = cluster.new_database()
    before = psycopg.connect(url)
    before.execute("CREATE TABLE kept AS SELECT 1 AS value")
    before.commit()

    cluster.restart(mode)

    with pytest.raises(psycopg.OperationalError):
        before.execute("SELECT 1")
    before.close()
    assert [(1,)] == cluster.execute("SELECT value FROM kept", url.rpartition("/")[2])


def test_the_later_of_the_two_versions_works_as_well() -> None:
    with Cluster(18) as cluster:
        [(version,)] = cluster.execute("SHOW server_version")

    assert str(version).startswith("18.")


def test_the_cluster_goes_away_with_its_owner() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    folder = Path(owner.stdout.readline().decode().strip())
    assert folder.exists()

    owner.kill()
    owner.communicate()

    wait_until(lambda: not folder.exists(), description="the cluster has gone")


def test_terminated_sessions_end(server: Server, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        pids = server.backends(postgres_url)

        assert 1 == len(pids)
        assert 1 == server.terminate(*pids)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


# ---------------------------------------------------------------------- the proxy


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    with through(postgres_url) as (proxy, url):
        yield proxy, url


def test_the_proxy_passes_everything_on(proxied: tuple[Proxy, str]) -> None:
    _, url = proxied
    with psycopg.connect(url) as connection:
        assert 42 == _answer(connection)


def test_the_proxy_cuts_connections(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    with psycopg.connect(url) as connection:
        proxy.cut()

        with pytest.raises(psycopg.OperationalError):
            _answer(connection)


def test_the_proxy_refuses_connections(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    proxy.refuse()

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)

    proxy.accept()
    with psycopg.connect(url) as connection:
        assert 42 == _answer(connection)


def test_the_proxy_drops_answers(proxied: tuple[Proxy, str], postgres_url: str) -> None:
    proxy, url = proxied
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE done (value int)")
        proxy.cut_answers()

        with pytest.raises(psycopg.OperationalError):
            connection.execute("INSERT INTO done VALUES (1)")

    with psycopg.connect(postgres_url) as direct:
        assert (1,) == direct.execute("SELECT count(*) FROM done").fetchone()


def test_the_proxy_swallows_everything(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    with psycopg.connect(url, autocommit=True) as connection:
        proxy.swallow()
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(url, connect_timeout=2)
        proxy.accept()

        assert 42 == _answer(connection)


def test_the_proxy_delays_each_way(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    with psycopg.connect(url, autocommit=True) as connection:
        proxy.delay = 0.05
        begin = time.monotonic()
        _answer(connection)

        assert time.monotonic() - begin >= 0.1
