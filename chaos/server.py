"""Faults of a PostgreSQL server: it ends sessions, restarts, or is not up yet."""

import random
import time
from dataclasses import replace
from statistics import median

import httpx

from chaos.findings import KEPT, Finding, judge
from chaos.lab import Lab
from chaos.storm import accepted, seconds_until, some, storm
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet
from tests.helpers import Server, wait_until
from tests.proxy import through

CONNECTIONS = 3  # of each process: for writes, for people, for LISTEN
RESUMED_WITHIN = 15.0  # seconds


def end_sessions(lab: Lab, *, times: int = 300, every: float = 0.1) -> Finding:
    """F24: pg_terminate_backend of a random session, again and again."""
    return judge(
        "F24",
        lab,
        f"3 processes under load, pg_terminate_backend of a random one of their sessions every"
        f" {every} s, {times} times",
        lambda room: _end_sessions(room, times, every),
        required=f"{KEPT}; no leaked connection",
    )


def _end_sessions(lab: Lab, times: int, every: float) -> Result:
    dice = random.Random(24)
    most = 0

    def end_one(fleet: Fleet) -> None:
        nonlocal most
        sessions = lab.server.backends(lab.url)
        most = max(most, len(sessions))
        lab.server.terminate(*some(dice, sessions))

    result, _ = storm(lab, end_one, times=times, every=every)
    allowed = (3 + 1) * CONNECTIONS
    notes = [*result.notes, f"at most {most} connections of 3 servers and the checker"]
    return replace(result, notes=notes, well=most <= allowed)


def restart_server(
    lab: Lab, *, restarts: int = 10, pause: float = 5.0, down: float = 10.0
) -> Finding:
    """F26: the server crashes and is down for a while, again and again."""
    return judge(
        "F26",
        lab,
        f"3 processes under load, PostgreSQL stopped in mode immediate {restarts} times, and"
        f" started again 0 to {down:.0f} s later",
        lambda room: _restart_server(room, restarts, pause, down),
        required=f"{KEPT}; work goes on within {RESUMED_WITHIN:.0f} s",
    )


def _restart_server(lab: Lab, restarts: int, pause: float, down: float) -> Result:
    dice = random.Random(26)
    resumed = []

    def restart(fleet: Fleet) -> None:
        lab.cluster.restart("immediate", down_seconds=dice.uniform(0, down))
        before = accepted(fleet)
        resumed.append(
            seconds_until(lambda: accepted(fleet) > before, description="work goes on", timeout=60)
        )

    result, _ = storm(lab, restart, times=restarts, every=pause, excused=True, LEASE=30)
    note = f"work went on after {median(resumed):.1f} s, at worst {max(resumed):.1f} s"
    return replace(result, notes=[*result.notes, note], well=max(resumed) < RESUMED_WITHIN)


def start_before_the_server(lab: Lab, *, away: float = 20.0) -> Finding:
    """F33: the application starts before its store does."""
    with through(lab.url) as (proxy, url):
        fleet, clients = lab.fleet(1, url=url), Clients(seconds=0.0)
        (server,) = fleet.servers
        proxy.swallow()
        unanswered = _seconds_to_fail(server)
        proxy.refuse()
        began_at, refused = time.monotonic(), []
        while time.monotonic() < began_at + away:  # restart it as a supervisor does
            refused.append(_seconds_to_fail(server))
        proxy.accept()
        with fleet.running():
            with server.client() as client:
                clients.send(client)
            fleet.wait_finished(timeout=20)
            verdict = fleet.verdict(clients)
    return Finding(
        name="F33",
        store=lab.kind,
        question=f"start-up while the store does not answer, then is away for {away:.0f} s",
        required="start-up fails within 15 s and names the store; started again, it works",
        measured=f"failed after {unanswered:.1f} s without an answer, {len(refused)} times after at"
        f" most {max(refused):.1f} s when refused; then {verdict.runs} of 1 jobs run",
        passed=max(unanswered, *refused) < 15 and verdict.runs == 1 and not verdict.problems,
    )


def _seconds_to_fail(server: Server) -> float:
    """Start the server, which must fail with a message; returns the seconds until then."""
    server.start(wait=False)
    seconds = seconds_until(
        lambda: server.process.poll() is not None, description="start-up fails", timeout=60
    )
    if server.process.returncode == 0 or "cannot be" not in server.log.read_text():
        raise AssertionError(f"not a failed start-up that says why: {server.log.read_text()}")
    server.log.unlink()
    return seconds


def lose_hints(lab: Lab, *, jobs: int = 20) -> Finding:
    """F38: sessions that listen for NOTIFY are cut off again and again."""
    heard = _latencies(lab.room("heard"), jobs, cut=False)
    missed = _latencies(lab.room("missed"), jobs, cut=True)
    return Finding(
        name="F38",
        store=lab.kind,
        question=f"{jobs} single jobs for another process, which is never left to LISTEN",
        required="each starts within 1.5 s: the polling finds what the hint did not tell",
        measured=f"seconds from response to start: {_spread(heard)} with hints, {_spread(missed)}"
        " without",
        passed=max(missed) < 1.5,
    )


def _latencies(lab: Lab, jobs: int, *, cut: bool) -> list[float]:
    fleet, clients = lab.fleet(0), Clients(seconds=0.0, task="work")
    web, worker = fleet.server(WORKER=0), fleet.server()
    with fleet.running():
        fleet.start(web, worker)
        with web.client() as client:
            return [_latency(lab, fleet, clients, client, cut=cut) for _ in range(jobs)]


def _latency(lab: Lab, fleet: Fleet, clients: Clients, client: httpx.Client, *, cut: bool) -> float:
    time.sleep(0.2)
    if cut:
        wait_until(lambda: _end_listeners(lab) > 0, description="a session listens", timeout=10)
    (number,) = clients.send(client)

    def has_started() -> bool:
        if cut:
            _end_listeners(lab)
        return number in fleet.ledger.numbers("started")

    return seconds_until(has_started, description="the job starts", timeout=20)


def _end_listeners(lab: Lab) -> int:
    """End the sessions that listen; returns their number."""
    return lab.server.terminate(*lab.server.backends(lab.url, last="LISTEN%"))


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} (worst {max(seconds):.2f})"
