"""The experiments A to D: one fault, and how a queue should deal with it.

Each takes a `Lab` and returns a `Finding`. They run the application of the crash tests
(`tests/crash/app.py`) in real uvicorn processes on one store.
"""

import time
from statistics import median

from afterword import JobState
from chaos.findings import Finding
from chaos.lab import POSTGRES, Lab
from tests.crash.fleet import Clients
from tests.crash.ledger import Verdict
from tests.helpers import wait_until

REPETITIONS = 5
LEASE = 30.0  # seconds, the default: experiment A must not have to wait for it
SHORT_LEASE = 2.0
LONG_TASK = 20.0  # seconds: ten short leases
OLD_RELEASE_ALONE = 15.0  # seconds


def kill_in_the_middle(lab: Lab) -> Finding:
    """A: kill -9 in the middle of a task, and measure the seconds until it runs again."""
    fresh, alive = [], []
    for repetition in range(REPETITIONS):
        fresh.append(_seconds_until_it_runs_again(lab.room(f"fresh-{repetition}"), 1))
        alive.append(_seconds_until_it_runs_again(lab.room(f"alive-{repetition}"), 2))
    measured = (
        f"a fresh process: {_spread(fresh)}, its start included;"
        f" another live process: {_spread(alive)}"
    )
    apart = 0.0
    if lab.kind == POSTGRES:
        apart = _seconds_until_it_runs_again(lab.room("apart"), 2, apart=True)
        measured += f"; one on another machine: {apart:.1f} s"
    return Finding(
        name="A",
        store=lab.kind,
        question="kill -9 in the middle of a task: seconds until it runs again (lease 30 s)",
        required="about 2 s on one machine, one lease across machines",
        measured=measured,
        passed=max(fresh + alive) < 4.0 and apart < LEASE + 4.0,
    )


def _seconds_until_it_runs_again(lab: Lab, size: int, *, apart: bool = False) -> float:
    fleet = lab.fleet(size, LEASE=LEASE)
    server = fleet.servers[0]
    if apart:  # it sees no locks, as on another machine
        fleet.servers[1] = fleet.server(TMPDIR=lab.room("elsewhere").folder)
    with fleet.running():
        fleet.begin(Clients(), "work", seconds=60.0)
        killed_at = time.monotonic()
        fleet.kill(server)
        if size == 1:
            fleet.start(server, wait=False)
        wait_until(
            lambda: len(fleet.ledger.lines("started")) == 2,
            description="the job runs again",
            timeout=LEASE * 3,
        )
        return time.monotonic() - killed_at


def deploy_a_new_task(lab: Lab) -> Finding:
    """B: a rolling deploy; the only running worker does not know the task yet."""
    fleet = lab.fleet(0)
    clients = Clients(task="work")
    web, old, new = fleet.server(WORKER=0), fleet.server(WITHOUT="work"), fleet.server()
    with fleet.running():
        fleet.start(web, old)
        with web.client() as client:
            clients.send(client, jobs=20)
        time.sleep(OLD_RELEASE_ALONE)
        kept = fleet.store.count()[JobState.QUEUED]
        old.stop()
        fleet.start(new)
        fleet.wait_finished(timeout=60)
        verdict = fleet.verdict(clients)
    return Finding(
        name="B",
        store=lab.kind,
        question="a rolling deploy: for 15 s the only worker does not know the task of 20 jobs",
        required="the jobs are kept, then run by the newer release",
        measured=f"{kept} of 20 kept; then {verdict.runs} runs, {verdict.poisoned} failed",
        passed=kept == 20 and verdict.runs == 20 and not verdict.problems,
    )


def outlast_the_lease(lab: Lab) -> Finding:
    """C: healthy tasks that take ten leases, with a second worker at hand."""
    verdict = _run_with_two_workers(lab, ("work", "work_in_thread"))
    return Finding(
        name="C",
        store=lab.kind,
        question="a healthy task of 20 s under a lease of 2 s, two workers; `async def` and `def`",
        required="each runs once",
        measured=f"{verdict.runs} runs of 2 jobs",
        passed=verdict.runs == 2 and not verdict.problems,
    )


def block_the_loop(lab: Lab) -> Finding:
    """D: a task that blocks the event loop for ten leases, with a second worker at hand."""
    verdict = _run_with_two_workers(lab, ("block",))
    return Finding(
        name="D",
        store=lab.kind,
        question="a task blocks the event loop for 20 s under a lease of 2 s, two workers",
        required="it runs once",
        measured=f"{verdict.runs} run of 1 job" if verdict.runs == 1 else f"{verdict.runs} runs",
        passed=verdict.runs == 1 and not verdict.problems,
    )


def _run_with_two_workers(lab: Lab, tasks: tuple[str, ...]) -> Verdict:
    fleet = lab.fleet(2, LEASE=SHORT_LEASE)
    clients = Clients()
    with fleet.running():
        for task in tasks:
            fleet.begin(clients, task, seconds=LONG_TASK)
        fleet.wait_finished(timeout=LONG_TASK * 4)
        return fleet.verdict(clients)


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} s (worst of {len(seconds)}: {max(seconds):.1f} s)"
