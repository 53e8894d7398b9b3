"""Faults of the network between a process and its PostgreSQL server, made by a proxy."""

import time
from dataclasses import replace

from chaos.findings import KEPT, Finding, judge
from chaos.lab import Lab
from chaos.storm import seconds_until, storm
from tests.crash.faults import Result
from tests.crash.fleet import Clients
from tests.proxy import through


def cut_answers(lab: Lab, *, cuts: int = 200, every: float = 0.1) -> Finding:
    """F25: the connection breaks after a COMMIT is done and before its answer arrives."""
    return judge(
        "F25",
        lab,
        f"3 processes under load; every {every} s a connection is cut in place of the answer to a"
        " COMMIT",
        lambda room: _cut_answers(room, cuts, every),
        required="0 lost, 0 stored or completed twice, every extra run explained",
    )


def _cut_answers(lab: Lab, cuts: int, every: float) -> Result:
    with through(lab.url) as (proxy, url):
        result, _ = storm(
            lab,
            lambda fleet: proxy.cut_answers(holding=b"COMMIT"),
            times=cuts,
            every=every,
            url=url,
        )
        return replace(result, hits=proxy.cuts, well=proxy.cuts > 0)


def half_open(lab: Lab, *, lease: float = 10.0) -> Finding:
    """F31: the network silently drops everything, both ways."""
    return judge(
        "F31",
        lab,
        f"nothing gets through between one of two processes and the store, for {2 * lease:.0f} s",
        lambda room: _half_open(room, lease),
        required=f"{KEPT}; noticed and taken over within two leases",
    )


def _half_open(lab: Lab, lease: float) -> Result:
    clients = Clients(task="work")
    with through(lab.url) as (proxy, url):
        fleet = lab.fleet(1, url=url, LEASE=lease, ORDER="concurrent")
        (cut_off,) = fleet.servers
        other = fleet.server(STORE=lab.url, TMPDIR=lab.room("other").folder)
        fleet.store = lab.store()
        with fleet.running():
            fleet.begin(clients, "work", seconds=lease * 0.7, jobs=4)
            fleet.disturbed.add(cut_off.process.pid)
            fleet.start(other)
            proxy.swallow()
            with cut_off.client() as client:
                refused = seconds_until(
                    lambda: clients.send(client) and clients.refusals,
                    description="a request is refused",
                    timeout=60,
                )
            taken = seconds_until(
                lambda: any(line.attempt == 2 for line in fleet.ledger.lines("started")),
                description="the other process takes over",
                timeout=lease * 4,
            )
            time.sleep(max(0.0, 2 * lease - refused - taken))
            proxy.accept()
            with cut_off.client() as client:
                seconds_until(
                    lambda: clients.send(client) in clients.acked,
                    description="requests are taken again",
                    timeout=30,
                )
            fleet.wait_finished(timeout=60)
            notes = [
                f"a request refused after {refused:.1f} s",
                f"taken over after {refused + taken:.1f} s",
            ]
            well = refused < 10 and refused + taken < 2 * lease
            return Result(fleet.verdict(clients), 1, fleet.logs(), notes, well)


def slow_and_lossy(lab: Lab, *, seconds: float = 30.0) -> Finding:
    """F32: 200 ms to the store and back, and one packet in twenty is lost."""
    return judge(
        "F32",
        lab,
        f"200 ms latency and 5 % loss before the store of 3 processes under load, {seconds:.0f} s",
        lambda room: _slow_and_lossy(room, seconds),
        required="no request refused, no lease lost, every job run once",
    )


def _slow_and_lossy(lab: Lab, seconds: float) -> Result:
    with through(lab.url) as (proxy, url):
        proxy.delay, proxy.loss = 0.1, 0.05
        result, clients = storm(lab, lambda fleet: None, times=1, every=seconds, url=url, LEASE=30)
        well = not clients.refusals and not result.verdict.extra_runs
        return replace(result, hits=0, well=well and "recovered" not in result.logs)
