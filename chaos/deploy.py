"""Deploys: two releases on one store (F40), and tasks that have changed (F41)."""

import random
import shutil
import time
from pathlib import Path

import afterword
from afterword import JobState
from chaos.findings import KEPT, Finding, judge
from chaos.lab import Lab
from chaos.storm import wait_ended
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet
from tests.helpers import ROOT, Server, wait_until

# The next release adds to each kind of store a column that this release does not know.
MIGRATIONS = {
    "sqlite": "ALTER TABLE afterword_jobs ADD COLUMN colour TEXT;\n",
    "postgres": "ALTER TABLE afterword.jobs ADD COLUMN colour text;\n",
}


def mix_releases(lab: Lab, *, seconds: float = 20.0) -> Finding:
    """F40: a rolling deploy under load; half of the processes of either release are killed."""
    return judge(
        "F40",
        lab,
        f"2 processes of this release and 2 of one with a newer schema under load for"
        f" {seconds:.0f} s, kill -9 of a random one every second",
        lambda room: _mix_releases(room, seconds),
        required=f"{KEPT}; both releases work to the end",
    )


def _mix_releases(lab: Lab, seconds: float) -> Result:
    dice, hits = random.Random(40), 0
    fleet, clients = lab.fleet(2, LEASE=5, ORDER="concurrent"), Clients(seconds=0.05)
    newer = _next_release(lab.folder)
    with fleet.running():
        path = f"{newer}:{ROOT}"
        fleet.servers += [fleet.server(PYTHONPATH=path) for _ in range(2)]
        with clients.loading(fleet.servers[:2], jobs=3):
            time.sleep(seconds / 4)  # the newer release comes when work is under way
            fleet.start(*fleet.servers[2:])
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                server = dice.choice(fleet.servers)
                fleet.kill(server)
                hits += 1
                fleet.start(server, wait=False)
                time.sleep(1.0)
            wait_until(
                lambda: all(_workers_of_each(fleet)), description="both releases work", every=0.2
            )
        wait_ended(fleet, timeout=120)
        worked = _workers_of_each(fleet)
        note = f"{worked[0]} jobs run by this release, {worked[1]} by the newer one"
        return Result(fleet.verdict(clients), hits, fleet.logs(), [note], min(worked) > 0)


def _next_release(folder: Path) -> Path:
    """Copy the source and add one more migration for each kind of store."""
    source = Path(afterword.__file__).parent
    copy = folder / "next" / "afterword"
    shutil.copytree(source, copy)
    for kind, sql in MIGRATIONS.items():
        migrations = copy / "store" / kind / "migrations"
        number = len(list(migrations.glob("*.sql"))) + 1
        (migrations / f"{number:04}_colour.sql").write_text(sql)
    return copy.parent


def _workers_of_each(fleet: Fleet) -> tuple[int, int]:
    """Count the runs that each release has begun, by the process ids in the logs."""
    newer = {pid for server in fleet.servers[2:] for pid in _pids(server)}
    runs = [line.pid in newer for line in fleet.ledger.lines("started")]
    return runs.count(False), runs.count(True)


def _pids(server: Server) -> set[int]:
    words = server.log.read_text().split("Started server process [")[1:]
    return {int(word.partition("]")[0]) for word in words}


def change_tasks(lab: Lab, *, jobs: int = 50) -> Finding:
    """F41: stored jobs meet a release in which their task is gone, or asks for more."""
    gone = _meet(lab.room("gone"), jobs, WITHOUT="work")
    changed = _meet(lab.room("changed"), jobs, CHANGED="work")
    return Finding(
        name="F41",
        store=lab.kind,
        question=f"{jobs} jobs of a task that is removed, {jobs} of one that has another signature",
        required="they are kept, use no attempt, are in the log, and run when their task is back",
        measured=f"removed: {gone}; changed: {changed}",
        passed=gone == changed == _met(jobs, jobs),
    )


def _met(kept: int, ran: int) -> str:
    return f"{kept} kept with attempt 0, then {ran} run"


def _meet(lab: Lab, jobs: int, **environment: object) -> str:
    fleet, clients = lab.fleet(0, ORDER="concurrent"), Clients(task="work", seconds=0.0)
    web, other, same = fleet.server(WORKER=0), fleet.server(**environment), fleet.server()
    with fleet.running():
        fleet.start(web, other)
        with web.client() as client:
            clients.send(client, jobs)
        wait_until(lambda: "put_back" in other.log.read_text(), description="jobs are put back")
        time.sleep(6.0)  # an unknown task is asked about again after five
        other.stop()
        states = [(each.state, each.attempt) for each in fleet.records()]
        _make_due(fleet)
        fleet.start(same)
        fleet.wait_finished(timeout=90)
        ran = fleet.verdict(clients)
    problems = "".join(f"; {text}" for text in ran.problems[:3])
    return _met(states.count((JobState.QUEUED, 0)), ran.runs) + problems


def _make_due(fleet: Fleet) -> None:
    """Make parked jobs due now: they would wait a minute for a worker that can run them."""
    jobs = [each.id for each in fleet.records()]
    fleet.store.cancel(jobs, "parked")
    fleet.store.retry(jobs)
