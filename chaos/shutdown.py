"""Shutdowns: how processes end and what they leave behind (F42 to F44)."""

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from afterword import JobState
from chaos.findings import Finding, judge
from chaos.lab import Lab
from tests.crash.faults import Result
from tests.crash.fleet import TARGET, Clients, Fleet
from tests.crash.ledger import number_of
from tests.helpers import Server, wait_until

STARTS_WITHIN = 1.0  # seconds after the signal within which a job may still start
GONE_WITHIN = 3.0  # seconds within which child processes must end after their parent


def drain_under_load(
    lab: Lab, *, grace: float = 20.0, hold: int = 3, slack: float = 5.0
) -> Finding:
    """F42: SIGTERM under load, while all kinds of tasks run and a client listens to a stream."""
    return judge(
        "F42",
        lab,
        f"SIGTERM under load, with `async def`, `def` and process tasks that end within the grace"
        f" time of {grace:.0f} s and such that do not, and an open event stream (uvicorn"
        f" --timeout-graceful-shutdown {hold})",
        lambda room: _drain_under_load(room, grace, hold, slack),
        required=f"nothing starts later than 1 s after the signal; exit within"
        f" {grace + slack:.0f} s; no job left running, none counted as lost",
    )


def _drain_under_load(lab: Lab, grace: float, hold: int, slack: float) -> Result:
    fleet, clients = (
        lab.fleet(0, GRACE=grace, CONCURRENCY=8, ORDER="concurrent"),
        Clients(seconds=0.05),
    )
    server = fleet.server("--timeout-graceful-shutdown", str(hold))
    fleet.servers = [server]
    soon, late = hold + grace / 2, hold + grace + 8  # a pause of the machine is shorter
    with fleet.running():
        for task, jobs, seconds in (
            ("work_apart", 1, soon),
            ("work_in_thread", 1, soon),
            ("work", 1, soon),
            ("work_apart", 1, late),
            ("work", 2, late),
        ):
            fleet.begin(clients, task, seconds, jobs)
        with listening(server), clients.loading([server] * 2, jobs=3):
            wait_until(lambda: len(clients.acked) > 20, description="the server takes orders")
            status, took, started = _terminate(fleet, server)
        left = fleet.store.count()[JobState.RUNNING]
        fleet.start(fleet.server(CONCURRENCY=40))
        fleet.wait_finished(timeout=90)
        again = [each for each in fleet.records() if each.attempt > 1]
        lost = sum(each.lost for each in fleet.records())
        notes = [
            f"{started} jobs started later than that; exit with {status} after {took:.1f} s;"
            f" {left} jobs left running; {len(again)} cut off and run again, {lost} of them as lost"
        ]
        well = not started and took < grace + slack and not left and not lost and len(again) >= 3
        return Result(fleet.verdict(clients), 1, fleet.logs(), notes, well)


def _terminate(fleet: Fleet, server: Server) -> tuple[int, float, int]:
    """Send SIGTERM; returns the exit status, the seconds until then, and the late starts."""
    signalled_at = time.monotonic()
    server.process.terminate()
    wait_until(lambda: "Shutting down" in server.log.read_text(), description="it shuts down")
    time.sleep(STARTS_WITHIN)
    before = len(fleet.ledger.lines("started"))
    status = server.process.wait(timeout=90)
    took = time.monotonic() - signalled_at
    return status, took, len(fleet.ledger.lines("started")) - before


@contextmanager
def listening(server: Server) -> Iterator[None]:
    """Open an event stream that the client does not end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as stream:
        stream.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        if not stream.recv(64).startswith(b"HTTP/1.1 200"):
            raise AssertionError("the server has no stream")
        yield


def outlast_the_grace(lab: Lab, *, seconds: float = 60.0, grace: float = 20.0) -> Finding:
    """F43: a thread, which cannot be stopped, runs on after SIGTERM until its process ends."""
    return judge(
        "F43",
        lab,
        f"SIGTERM while a `def` task of {seconds:.0f} s runs, grace time {grace:.0f} s; then the"
        " next start",
        lambda room: _outlast_the_grace(room, seconds, grace),
        required="exit within 25 s; the job runs again once, as attempt 2, and is no loss",
    )


def _outlast_the_grace(lab: Lab, seconds: float, grace: float) -> Result:
    fleet, clients = lab.fleet(1, GRACE=grace), Clients()
    (server,) = fleet.servers
    with fleet.running():
        (job,) = fleet.begin(clients, "work_in_thread", seconds)
        fleet.disturbed.add(server.process.pid)
        _, took, _ = _terminate(fleet, server)
        began_at = time.monotonic()
        fleet.start(server, wait=False)
        _wait_started(fleet, 2)
        again = time.monotonic() - began_at
        fleet.wait_finished(timeout=seconds + 60)
        record, verdict = fleet.record(job), fleet.verdict(clients)
        notes = [
            f"exit after {took:.1f} s; run again {again:.1f} s after the next start, its time"
            f" included; attempt {record.attempt}, {record.interrupted} interruptions,"
            f" {record.lost} losses"
        ]
        well = took < grace + 5 and (record.attempt, record.lost, verdict.runs) == (2, 0, 2)
        return Result(verdict, 1, fleet.logs(), notes, well)


def _wait_started(fleet: Fleet, runs: int) -> None:
    wait_until(
        lambda: len(fleet.ledger.lines("started")) >= runs,
        description=f"{runs} runs have started; see {fleet.folder}",
        timeout=60,
    )


# ---------------------------------------------------------------------- sudden ends


def _twice(server: Server) -> None:
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGINT)


ENDS: dict[str, Callable[[Server], object]] = {
    "SIGINT twice": _twice,
    "SIGHUP": lambda server: server.process.send_signal(signal.SIGHUP),
    "SIGQUIT": lambda server: server.process.send_signal(signal.SIGQUIT),
    "SIGKILL": lambda server: server.process.kill(),
    "SIGKILL of the supervisor": lambda server: server.process.kill(),
}


def leave_children(lab: Lab, *, seconds: float = 10.0) -> Finding:
    """F44: a process that has children ends suddenly, or its parent does."""
    with nothing_ignored():
        return judge(
            "F44",
            lab,
            f"{', '.join(ENDS)} (of `afterword worker --processes 2`), while an `async def` task"
            f" and two processes work, one of which keeps the GIL for {seconds:.0f} s",
            lambda room: _leave_children(room, room.folder.name.replace("-", " "), seconds),
            [lab.room(end.replace(" ", "-")) for end in ENDS],
            required=f"no child process left after {GONE_WITHIN:.0f} s; each job runs again once,"
            " as attempt 2",
        )


@contextmanager
def nothing_ignored() -> Iterator[None]:
    """Undo the ignored signals that servers would inherit: shells ignore SIGQUIT, nohup SIGHUP."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGHUP, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_children(lab: Lab, end: str, seconds: float) -> Result:
    supervised = "supervisor" in end
    fleet = lab.fleet(1, ORDER="concurrent", GRACE=0.5, WORKER=int(not supervised))
    clients, tasks = Clients(), ("work", "work_apart", "hold_gil_apart")
    (server,) = fleet.servers
    ended = Supervisor(fleet) if supervised else server
    with fleet.running():
        if supervised:
            ended.start(wait=False)
        for task in tasks:
            fleet.begin(clients, task, seconds)
        gone = _seconds_until_gone(ended, lambda: ENDS[end](ended))
        fleet.disturbed |= {line.pid for line in fleet.ledger.lines()}
        fleet.start(fleet.server(WORKER=1))
        fleet.wait_finished(timeout=seconds + 60)
        verdict = fleet.verdict(clients)
        attempts = sorted((number_of(each), each.attempt) for each in fleet.records())
        again = [attempt for _, attempt in attempts]
        notes = [f"{end}: the last child was gone after {gone:.1f} s, attempts {again}"]
        well = gone < GONE_WITHIN and again == [2, 2, 2] and verdict.runs == 2 * len(tasks)
        return Result(verdict, 1, fleet.logs(), notes, well)


def _seconds_until_gone(server: Server, end: Callable[[], object]) -> float:
    """End the process; returns the seconds from its end to that of its last descendant."""
    family = descendants(server.process.pid)
    end()
    server.process.wait(timeout=60)
    ended_at = time.monotonic()
    wait_until(
        lambda: not any(map(is_alive, family)),
        description=f"none of the processes {family} is left",
        timeout=60,
    )
    return time.monotonic() - ended_at


class Supervisor(Server):
    """The command `afterword worker --processes 2`: a parent of workers that have children."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(TARGET, fleet.folder, environment=fleet.environment)
        self._command = [
            *(sys.executable, "-m", "afterword", "worker", TARGET, "--processes", "2"),
        ]


def descendants(pid: int) -> Sequence[int]:
    """Return the ids of all descendants of a process."""
    parents = {int(stat.parent.name): parent for stat in _stats() if (parent := _parent(stat))}
    found = [pid]
    for each in found:  # it grows during the loop
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def _stats() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/stat")


def _parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended just now
        return None


def is_alive(pid: int) -> bool:
    """True if a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
