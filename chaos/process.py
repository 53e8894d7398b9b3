"""Faults of whole processes, caused by a task or the machine: F5 to F8, and F23."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from afterword import JobState
from afterword.store.protocol import MAX_LOST
from chaos.findings import Finding, judge
from chaos.lab import Lab
from chaos.storm import accepted
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet
from tests.crash.ledger import number_of
from tests.helpers import ROOT, Server, wait_until

CRASHERS = ("segfault", "exit_worker", "kill_worker")  # the last as the out-of-memory killer does
APART = ("segfault_apart", "exit_apart", "kill_apart")  # the same as process tasks


def freeze_everything(lab: Lab, *, lease: float = 2.0, times: int = 5) -> Finding:
    """F5: all processes are frozen at once, for twice their lease, as with a paused machine."""
    return judge(
        "F5",
        lab,
        f"all 3 processes frozen at once for 2 leases, {times} times, while they drain 1,000 jobs",
        lambda room: _freeze_everything(room, lease, times),
    )


def _freeze_everything(lab: Lab, lease: float, times: int) -> Result:
    fleet = lab.fleet(3, LEASE=lease, ORDER="concurrent")
    clients = Clients(seconds=0.3)
    with fleet.running():
        for _ in range(20):
            with fleet.servers[0].client() as client:
                clients.send(client, jobs=50)
        for _ in range(times):
            before = accepted(fleet)
            wait_until(lambda: accepted(fleet) > before, description="work goes on")  # noqa: B023
            freeze(fleet, 2 * lease)
        fleet.wait_finished(timeout=120)
        return Result(fleet.verdict(clients), times, fleet.logs())


def freeze(fleet: Fleet, seconds: float) -> None:
    """SIGSTOP to every process, and SIGCONT some time later."""
    for server in fleet.servers:
        fleet.disturbed.add(server.process.pid)
        server.pause()
    time.sleep(seconds)
    for server in fleet.servers:
        server.resume()


def block_loops(lab: Lab, *, lease: float = 1.0) -> Finding:
    """F6: tasks block their event loop for three leases while other jobs run."""
    return judge(
        "F6",
        lab,
        "6 tasks that block the event loop for 3 leases among 200 others, two processes",
        lambda room: _block_loops(room, lease),
        required="every job runs once",
    )


def _block_loops(lab: Lab, lease: float) -> Result:
    fleet = lab.fleet(2, LEASE=lease, ORDER="concurrent")
    clients = Clients(seconds=0.05)
    with fleet.running():
        for server in fleet.servers:
            with server.client() as client:
                clients.send(client, jobs=100, task="work_in_thread")
                clients.send(client, jobs=3, task="block", seconds=3 * lease)
        fleet.wait_finished(timeout=120)
        verdict = fleet.verdict(clients)
        return Result(verdict, 6, fleet.logs(), well=verdict.extra_runs == 0)


def hold_the_gil(lab: Lab, *, jobs: int = 1_000, lease: float = 3.0) -> Finding:
    """F7: a task stops everything else in its process, so uvicorn kills the process."""
    return judge(
        "F7",
        lab,
        f"a task holds the GIL for 10 s under uvicorn --workers 2, beside {jobs:,} others",
        lambda room: _hold_the_gil(room, jobs, lease),
        required=f"it fails as poison after {MAX_LOST} processes; all others complete",
    )


def _hold_the_gil(lab: Lab, jobs: int, lease: float) -> Result:
    fleet, clients = lab.fleet(0, LEASE=lease, ORDER="concurrent"), Clients(seconds=0.02)
    server = fleet.server("--workers", "2")
    with fleet.running():
        fleet.start(server)
        with server.client() as client:
            (poison,) = clients.send(client, task="hold_gil", seconds=10.0)
            for _ in range(jobs // 50):
                clients.send(client, jobs=50)
        fleet.wait_finished(timeout=180)
        fleet.disturbed |= {line.pid for line in fleet.ledger.lines()}
        server.stop()
        deaths = server.log.read_text().count("] died")  # uvicorn's words
        verdict = fleet.verdict(clients, poison=[poison])
        note = f"{deaths} web workers were killed"
        well = deaths == MAX_LOST and verdict.poisoned == 1
        return Result(verdict, deaths, fleet.logs(), [note], well)


def crash_in_tasks(lab: Lab, *, neighbours: int = 20) -> Finding:
    """F8: a task ends its process, in three ways."""
    return judge(
        "F8",
        lab,
        f"a task ends its process by a segmentation fault, by os._exit, by SIGKILL as the"
        f" out-of-memory killer does, in the worker's process and in one of its own; each with"
        f" {neighbours} neighbours",
        lambda room: _crash(room, room.folder.name, neighbours),
        [lab.room(task) for task in CRASHERS + APART],
        required=f"it fails as poison after {MAX_LOST} processes, and every neighbour completes;"
        " from a process of its own it fails at once, and no neighbour notices",
    )


def _crash(lab: Lab, task: str, neighbours: int) -> Result:
    crash = _crash_apart if task in APART else _crash_in_tasks
    return crash(lab, task, neighbours)


def _crash_apart(lab: Lab, task: str, neighbours: int) -> Result:
    fleet, clients = lab.fleet(1, LEASE=1, ORDER="concurrent"), Clients()
    (server,) = fleet.servers
    with fleet.running():
        (job,) = fleet.begin(clients, task, seconds=0.3)
        with server.client() as client:
            clients.send(client, neighbours, task="work", seconds=0.6)
        fleet.wait_finished(timeout=60)
        record, verdict = fleet.record(job), fleet.verdict(clients, poison=[0])
        well = "ProcessDied" in (record.error or "") and server.process.poll() is None
        note = f"{task}: failed in attempt {record.attempt}, {verdict.extra_runs} jobs run again"
        return Result(verdict, 0, fleet.logs(), [note], well and verdict.extra_runs == 0)


def _crash_in_tasks(lab: Lab, task: str, neighbours: int) -> Result:
    fleet, clients = lab.fleet(1, LEASE=1, ORDER="concurrent"), Clients()
    (server,) = fleet.servers
    with fleet.running():
        fleet.begin(clients, task, seconds=0.3)
        with server.client() as client:
            clients.send(client, neighbours, task="work", seconds=0.1)
        deaths = _start_until_poisoned(fleet, server)
        fleet.wait_finished(timeout=60)
        again = max(each.attempt for each in fleet.records() if number_of(each) != 0)
        note = f"{task}: {deaths} deaths, its neighbours ran at most {again} times"
        verdict = fleet.verdict(clients, poison=[0])
        well = deaths == MAX_LOST and verdict.poisoned == 1
        return Result(verdict, deaths, fleet.logs(), [note], well)


def _start_until_poisoned(fleet: Fleet, server: Server) -> int:
    """Restart the server whenever it dies, as a supervisor does; returns the number of deaths."""
    deaths = 0
    while fleet.store.count()[JobState.FAILED] == 0:
        if server.process.poll() is not None:
            deaths += 1
            fleet.disturbed.add(server.process.pid)
            fleet.start(server, wait=False)
        time.sleep(0.05)
    return deaths


FORKING = """
import os, sys
from afterword import Afterword
from tests.crash.jobs import note

afterword = Afterword(url=sys.argv[1])
afterword.add_task_sync(note, "parent")
children = []
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        afterword.add_task_sync(note, f"child {number}")
        afterword.close()
        os._exit(0)
    children.append(child)
    afterword.add_task_sync(note, f"parent {number}")
failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
afterword.close()
sys.exit(failed)
"""


def fork_after_open(lab: Lab, *, forks: int = 100) -> Finding:
    """F23: a process forks after it has opened its store, and both go on storing jobs."""
    status = _run_script(FORKING, [lab.url, str(forks)], timeout=120)
    store = lab.store()
    store.open()
    stored = store.count()[JobState.QUEUED]
    store.close()
    expected = 2 * forks + 1
    return Finding(
        name="F23",
        store=lab.kind,
        question=f"{forks} forks of a process with an open store; parent and children store jobs",
        required="every job is stored, nobody hangs",
        measured=f"{stored} of {expected} jobs stored, {status} children failed",
        passed=stored == expected and status == 0,
    )


def _run_script(code: str, arguments: Sequence[str], timeout: float) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, env=environment, timeout=timeout, check=False).returncode  # noqa: S603 - our own
