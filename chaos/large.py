"""The faults F1 to F4 at a larger scale than in the crash tests, with the same code."""

from chaos.findings import Finding, judge
from chaos.lab import Lab
from tests.crash import faults


def kill_workers(lab: Lab, *, jobs: int = 10_000, kills: int = 50) -> Finding:
    """F1: kill -9 a random one of four processes, again and again, while they drain jobs."""
    return judge(
        "F1",
        lab,
        f"{jobs:,} jobs on 4 processes, kill -9 of a random one {kills} times",
        lambda room: faults.kill_workers(room.folder, room.url, jobs=jobs, kills=kills),
    )


def kill_web_process(lab: Lab, *, rounds: int = 50) -> Finding:
    """F2: kill -9 the web process at random moments of its load."""
    return judge(
        "F2",
        lab,
        f"kill -9 of the web process under load, at a random moment, {rounds} times",
        lambda room: faults.kill_web_process(room.folder, room.url, rounds=rounds),
    )


def crash_at_each_point(lab: Lab, *, crashes: int = 20) -> Finding:
    """F3: die at each point where a job changes hands, twice in a row on one store."""
    rooms = [lab.room(f"{point}-{n}") for point in faults.POINTS for n in range(crashes // 2)]
    return judge(
        "F3",
        lab,
        f"the process dies at {', '.join(faults.POINTS)}: {crashes} times at each",
        lambda room: faults.crash_at(
            room.folder, room.url, room.folder.name.partition("-")[0], jobs=3, crashes=2
        ),
        rooms,
    )


def stop_workers(lab: Lab, *, jobs: int = 5_000, stops: int = 20) -> Finding:
    """F4: SIGSTOP a working process for longer than its lease, then SIGCONT."""
    return judge(
        "F4",
        lab,
        f"{jobs:,} jobs on 2 processes, {stops} times SIGSTOP for longer than the lease, SIGCONT",
        lambda room: faults.stop_workers(room.folder, room.url, jobs=jobs, stops=stops),
    )
