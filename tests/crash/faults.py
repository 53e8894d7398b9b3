"""Kills, crashes and stops of processes, in any size; a checker judges the jobs afterwards.

`tests/crash/test_crash.py` runs small ones with each change, `scripts/chaos` large ones.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from afterword.store.protocol import MAX_LOST
from tests.crash.fleet import Clients, Fleet
from tests.crash.ledger import Verdict, number_of
from tests.helpers import Server, wait_until

POINTS = ("stored", "claimed", "ran", "settling", "settled")  # see tests/crash/app.py

BOTH = ("work", "work_in_thread")


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a fault: the checker's verdict, the number of processes hit, and the logs.

    Args:
        notes: other measurements, in words.
        well: True if these are as required.
    """

    verdict: Verdict
    hits: int
    logs: str
    notes: Sequence[str] = ()
    well: bool = True


def kill_workers(
    folder: Path, url: str, *, jobs: int, kills: int, size: int = 4, seed: int = 1
) -> Result:
    """Kill -9 a random one of several processes again and again while they drain jobs.

    Each kill waits for its share of the jobs to end: at any speed of the machine, as many
    processes are killed, and work goes on in between.
    """
    dice = random.Random(seed)
    fleet = Fleet(folder, size, url=url, ORDER="concurrent", CONCURRENCY=8, LEASE=5)
    clients = Clients(seconds=0.1)
    with fleet.running():
        # Few requests: otherwise most jobs may end before the last one is sent.
        _send(fleet, clients, jobs, per_request=200, tasks=BOTH)
        for kill in range(kills):
            server = dice.choice(fleet.servers)
            fleet.wait_unfinished(jobs - jobs * kill // kills, timeout=60 + jobs / 50)
            fleet.kill(server)
            fleet.start(server, wait=False)
        fleet.wait_finished(timeout=60 + jobs / 50)
        # A job may lose three workers by chance; only then may it have failed.
        unlucky = [number_of(each) for each in fleet.records() if each.lost >= MAX_LOST]
        return Result(fleet.verdict(clients, poison=unlucky), kills, fleet.logs())


def kill_web_process(folder: Path, url: str, *, rounds: int, seed: int = 1) -> Result:
    """Kill -9 the only process at a random moment of its load."""
    dice = random.Random(seed)
    fleet = Fleet(folder, url=url)
    clients = Clients(seconds=0.0)
    server = fleet.servers[0]
    with fleet.running():
        for _ in range(rounds):
            before = len(clients.acked)
            with clients.loading([server] * 4, jobs=3):
                wait_until(
                    lambda: len(clients.acked) > before,  # noqa: B023 - used up in this round
                    description="the server takes orders",
                )
                time.sleep(dice.uniform(0.0, 0.5))
                fleet.kill(server)
            fleet.start(server)
        fleet.wait_finished(timeout=60)
        return Result(fleet.verdict(clients), rounds, fleet.logs())


def crash_at(folder: Path, url: str, point: str, *, jobs: int, crashes: int) -> Result:
    """Die at a named point where a job changes hands, with other jobs under way."""
    fleet = Fleet(folder, 0, url=url, LEASE=0.5)
    clients = Clients(seconds=0.0, task="work_in_thread")
    with fleet.running():
        for crash in range(crashes):
            server = fleet.server(CRASH_AT=point, CRASH_AFTER=crash % 3 + 1)
            fleet.start(server, wait=False)
            _load_until_dead(clients, server, jobs)
            fleet.disturbed.add(server.process.pid)
        fleet.start(fleet.server())
        fleet.wait_finished(timeout=30)
        return Result(fleet.verdict(clients), crashes, fleet.logs())


def _load_until_dead(clients: Clients, server: Server, jobs: int) -> None:
    """Send orders in bursts, so that some wait to be claimed, until the server dies."""

    def is_dead() -> bool:
        return server.process.poll() is not None

    wait_until(lambda: is_dead() or server.accepts(), description="the server answers", every=0.02)
    with clients.loading([server] * 2, jobs=jobs):
        wait_until(is_dead, description="the server dies at the point it was told to")


def restart_workers(folder: Path, url: str, *, jobs: int, restarts: int) -> Result:
    """SIGTERM one process after the other while they drain jobs, as a deploy does."""
    # No grace time: otherwise all running attempts could end within it.
    fleet = Fleet(folder, 2, url=url, ORDER="concurrent", CONCURRENCY=8, GRACE=0)
    # Long enough to be interrupted: draining begins at the signal, a moment before the shutdown.
    clients = Clients(seconds=0.5)
    with fleet.running():
        for server, _ in zip(cycle(fleet.servers), range(restarts), strict=False):
            with _working(fleet, server):
                _send(fleet, clients, jobs // restarts, per_request=25, tasks=("work",))
            server.stop()
            fleet.start(server)
        fleet.wait_finished(timeout=60 + jobs / 50)
        return Result(fleet.verdict(clients), restarts, fleet.logs())


def stop_workers(folder: Path, url: str, *, jobs: int, stops: int, lease: float = 1.0) -> Result:
    """Stop a working process by SIGSTOP for longer than its lease, then let it go on."""
    fleet = Fleet(folder, 2, url=url, ORDER="concurrent", CONCURRENCY=8, LEASE=lease)
    clients = Clients(seconds=0.2)
    with fleet.running():
        for server, _ in zip(cycle(fleet.servers), range(stops), strict=False):
            with _working(fleet, server):
                _send(fleet, clients, jobs // stops, per_request=25, tasks=BOTH)
            _stop_until_recovered(fleet, server, lease + 1.5)
        fleet.wait_finished(timeout=60 + jobs / 25)
        for server in fleet.servers:
            server.stop()  # after the threads of stale attempts have ended
        return Result(fleet.verdict(clients), stops, fleet.logs())


def _stop_until_recovered(fleet: Fleet, server: Server, seconds: float) -> None:
    """Stop a process until another one has recovered the jobs that it was running.

    Or for some seconds: in a transaction it keeps the jobs that it was about to end.
    """
    before, until = fleet.logs().count("recovered"), time.monotonic() + seconds
    with fleet.paused(server):
        while fleet.logs().count("recovered") == before and time.monotonic() < until:
            time.sleep(0.05)


@contextmanager
def _working(fleet: Fleet, server: Server) -> Iterator[None]:
    """Wait after the block, which sends jobs, until this process has started a new job."""
    pid = server.process.pid

    def runs() -> int:
        return sum(line.pid == pid for line in fleet.ledger.lines("started"))

    before = runs()
    yield
    wait_until(lambda: runs() > before, description=f"{server.url} works", timeout=60.0, every=0.02)


def _send(
    fleet: Fleet, clients: Clients, jobs: int, *, per_request: int, tasks: tuple[str, ...]
) -> None:
    """Send the jobs to one process after the other."""
    orders = zip(range(jobs // per_request), cycle(fleet.servers), cycle(tasks), strict=False)
    for _, server, task in orders:
        with server.client() as client:
            clients.send(client, per_request, task=task)
