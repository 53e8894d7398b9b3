"""Hosts: network namespaces on a bridge, each with its own address and temporary folder.

They share the network and nothing else that Afterword uses, so the loss of a host can be noticed
only by its lease. Needs root, `ip` and `nft`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from chaos.findings import Finding, judge
from chaos.lab import Lab
from tests.crash.faults import Result
from tests.crash.fleet import TARGET, Clients, Fleet
from tests.crash.ledger import Ledger
from tests.helpers import ROOT, Server, wait_until
from tests.postgres import Cluster

BRIDGE = "afterword0"
NETWORK = "10.77.0"
LEASE = 3.0  # seconds
PORT = 8000


class Host:
    """A machine on the bridge.

    Args:
        number: the last part of its address.
        folder: holds its temporary files, which no other host sees.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"afterword-{number}"
        self.address = f"{NETWORK}.{number}"
        self.temporary = folder / self.name
        self._link = f"aw{number}"

    def __enter__(self) -> "Host":
        """Make the host and connect it."""
        self.temporary.mkdir()
        _run("ip", "netns", "add", self.name)
        _run(
            *("ip", "link", "add", self._link, "type", "veth"),
            "peer",
            "name",
            "eth0",
            "netns",
            self.name,
        )
        _run("ip", "link", "set", self._link, "master", BRIDGE, "up")
        self._inside("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self._inside("ip", "link", "set", "eth0", "up")
        self._inside("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the host."""
        _run("ip", "netns", "del", self.name)

    def cut_off(self, *, deaf: bool = False) -> None:
        """Drop all packets silently; only incoming ones if `deaf`."""
        self._inside("nft", "add", "table", "inet", "cut")
        for hook in ("input",) if deaf else ("input", "output"):
            chain = f"{{ type filter hook {hook} priority 0; policy drop; }}"
            self._inside("nft", "add", "chain", "inet", "cut", hook, chain)

    def reconnect(self) -> None:
        """Let everything in and out again."""
        self._inside("nft", "delete", "table", "inet", "cut")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a command on the host, in the same process."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def _inside(self, *arguments: str) -> None:
        _run(*self.command(*arguments))


class RemoteServer(Server):
    """A process on another host: a web server without a worker, or a worker."""

    def __init__(self, host: Host, fleet: Fleet, *command: str, **environment: str) -> None:
        together = {**fleet.environment, "TMPDIR": str(host.temporary), **environment}
        super().__init__(TARGET, fleet.folder, environment=together, port=PORT)
        self.url = f"http://{host.address}:{PORT}"
        self.log = fleet.folder / f"server-{host.name}.log"
        self._command = host.command(sys.executable, "-m", *command)

    def accepts(self) -> bool:
        """True if it answers."""
        try:
            httpx.get(f"{self.url}/openapi.json", timeout=1.0)
        except httpx.TransportError:
            return False
        return True


@contextmanager
def network() -> Iterator[None]:
    """Make the bridge that connects the hosts with this machine."""
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        _run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        yield
    finally:
        _run("ip", "link", "del", BRIDGE)


@contextmanager
def reachable_cluster() -> Iterator[Cluster]:
    """Run a PostgreSQL server that the hosts can reach, with `fsync`."""
    with Cluster(listen_addresses="*", fsync="on", full_page_writes="on") as cluster:
        access = cluster.folder / "data" / "pg_hba.conf"
        with access.open("a") as file:
            file.write(f"host all all {NETWORK}.0/24 trust\n")
        cluster.execute("SELECT pg_reload_conf()")
        yield cluster


def share_and_lose(lab: Lab, *, jobs: int = 4_000) -> Finding:
    """N: two web hosts and three workers' hosts; one of these is killed, one is cut off."""
    return judge(
        "N",
        lab,
        f"{jobs:,} jobs of 2 web hosts on 3 worker hosts (network namespaces);"
        " one of these is killed, one cut off for three leases",
        lambda room: _share_and_lose(room.folder, jobs),
    )


def go_deaf(lab: Lab, *, jobs: int = 1_000) -> Finding:
    """F30: a worker's host hears nothing for three leases, but is heard."""
    return judge(
        "F30",
        lab,
        f"{jobs:,} jobs on 2 worker hosts, one of which hears nothing for three leases",
        lambda room: _go_deaf(room.folder, jobs),
    )


def _share_and_lose(folder: Path, jobs: int) -> Result:
    with _hosts(folder, webs=2, workers=3) as (fleet, webs, workers, hosts):
        clients = Clients(seconds=0.05)
        _order(clients, webs, jobs // 2)
        _wait_for_share(fleet.ledger, workers, jobs // 10)
        fleet.kill(workers[0])
        fleet.disturbed.add(workers[1].process.pid)
        hosts[1].cut_off()
        _order(clients, webs, jobs // 2)
        time.sleep(3 * LEASE)
        hosts[1].reconnect()
        fleet.wait_finished(timeout=120)
        shares = _shares(fleet.ledger, workers)
        stopped = [worker.stop() for worker in workers[1:]]
        verdict = fleet.verdict(clients)
        notes = [
            f"runs per worker host {shares}",
            f"the two left drained with exit codes {stopped}",
        ]
        return Result(verdict, 2, fleet.logs(), notes, well=min(shares) > 0 and stopped == [0, 0])


def _go_deaf(folder: Path, jobs: int) -> Result:
    with _hosts(folder, webs=1, workers=2) as (fleet, webs, workers, hosts):
        clients = Clients(seconds=0.05)
        fleet.disturbed.add(workers[0].process.pid)
        _order(clients, webs, jobs)
        _wait_for_share(fleet.ledger, workers, 10)
        hosts[0].cut_off(deaf=True)
        time.sleep(3 * LEASE)
        hosts[0].reconnect()
        fleet.wait_finished(timeout=120)
        return Result(fleet.verdict(clients), 1, fleet.logs())


@contextmanager
def _hosts(
    folder: Path, *, webs: int, workers: int
) -> Iterator[tuple[Fleet, Sequence[Server], Sequence[Server], Sequence[Host]]]:
    """Run a fleet on hosts: web servers first, then workers; the hosts yielded are the workers'."""
    with ExitStack() as stack:
        cluster = stack.enter_context(reachable_cluster())
        stack.enter_context(network())
        made = [Host(10 + number, folder) for number in range(webs + workers)]
        hosts = [stack.enter_context(host) for host in made]
        url = cluster.new_database()
        there = url.replace("127.0.0.1", f"{NETWORK}.1")
        fleet = Fleet(folder, 0, url=url, LEASE=LEASE, ORDER="concurrent", CONCURRENCY=8)
        serving = [_web(host, fleet, there) for host in hosts[:webs]]
        working = [_worker(host, fleet, there) for host in hosts[webs:]]
        fleet.servers = [*serving, *working]
        stack.callback(_kill_all, fleet.servers)
        for server in fleet.servers:
            server.start(wait=False)
        for server in serving:
            wait_until(server.answers, description=f"{server.url} answers; see {server.log}")
        fleet.store.open()
        stack.callback(fleet.store.close)
        wait_until(
            lambda: sum(each.concurrency > 0 for each in fleet.store.workers()) == workers,
            description=f"{workers} workers have joined; see {folder}",
        )
        yield fleet, serving, working, hosts[webs:]


def _web(host: Host, fleet: Fleet, url: str) -> RemoteServer:
    serve = ("uvicorn", TARGET, "--host", host.address, "--port", str(PORT), "--no-access-log")
    return RemoteServer(host, fleet, *serve, STORE=url, WORKER="0")


def _worker(host: Host, fleet: Fleet, url: str) -> RemoteServer:
    return RemoteServer(host, fleet, "afterword", "worker", TARGET, STORE=url, WORKER="0")


def _kill_all(servers: Sequence[Server]) -> None:
    for server in servers:
        if server.process.poll() is None:
            server.kill()


def _order(clients: Clients, webs: Sequence[Server], jobs: int, per_request: int = 20) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(web.client()) for web in webs]
        for number in range(jobs // per_request):
            task = ("work", "work_in_thread")[number % 2]
            clients.send(connections[number % len(webs)], per_request, task=task)


def _wait_for_share(ledger: Ledger, workers: Sequence[Server], runs: int) -> None:
    wait_until(
        lambda: min(_shares(ledger, workers)) > 0 and len(ledger.lines("started")) > runs,
        description="every worker host has its share",
        every=0.1,
    )


def _shares(ledger: Ledger, workers: Sequence[Server]) -> list[int]:
    """Count the runs that each worker has started."""
    pids = [line.pid for line in ledger.lines("started")]
    return [pids.count(worker.process.pid) for worker in workers]


def _run(*command: str) -> None:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)  # noqa: S603
