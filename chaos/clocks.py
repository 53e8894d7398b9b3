"""Experiment F34: wall clocks are set while processes work. Needs libfaketime.

One process of a host can have its own wall clock only through a library that answers in place of
the system: Debian's libfaketime. It changes the wall clock only. Waits go by the system's
`CLOCK_MONOTONIC`, as they do when an administrator or NTP sets a real clock.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from chaos.findings import Finding, judge
from chaos.lab import POSTGRES, SQLITE, Lab
from chaos.schedules import Occurrences, created_twice, not_run, occurrences, stop_schedules
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet

LEASE = 3.0  # seconds
HOUR, DAY = 3600, 24 * 3600
STEPS = (-HOUR, HOUR, DAY)  # off the right time; forward last, because schedules wait for a clock


class SettableClock:
    """A wall clock of some processes, which can be set.

    Args:
        folder: holds the file that says by how many seconds the clock is off.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that give a process this clock."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """Let the clock be off by these seconds from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)


def tidy_up(fleet: Fleet) -> None:
    """Remove what libfaketime leaves in shared memory."""
    for pid in {server.process.pid for server in fleet.servers}:
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (Path("/dev/shm") / name).unlink(missing_ok=True)  # noqa: S108 - its place


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise LookupError("F34 needs libfaketime: apt-get install libfaketime")
    return found[0]


def set_clocks(lab: Lab, *, seconds: float = 12.0) -> Finding:
    """F34: the wall clock of one process, or of the whole machine, is set, and set again."""
    steps = "1 h back, 1 h ahead, 1 day ahead"
    whose = {
        POSTGRES: "one of 3 hosts",
        SQLITE: "one of 3 processes, then of all (with a schedule, for it goes by that clock)",
    }
    rooms = [lab.room("one")] if lab.kind == POSTGRES else [lab.room("one"), lab.room("all")]
    return judge(
        "F34",
        lab,
        f"the wall clock of {whose[lab.kind]}: {steps}, for {seconds:.0f} s"
        f" each ({seconds / LEASE:.0f} leases), under load",
        lambda room: _set_clocks(room, seconds, everywhere=room.folder.name == "all"),
        rooms,
        required="no job taken from anybody, no lease lost, no negative duration; a schedule's"
        " occurrences created once, and in PostgreSQL each second has one",
    )


def _set_clocks(lab: Lab, seconds: float, *, everywhere: bool) -> Result:
    clock, scheduled = SettableClock(lab.folder), everywhere or lab.kind == POSTGRES
    fleet = lab.fleet(0, LEASE=LEASE, ORDER="concurrent", EVERY="one" if scheduled else "")
    # As on another host: no lock of the operating system shows that its process is alive.
    apart = {"TMPDIR": lab.room("elsewhere").folder, **clock.environment}
    fleet.servers = [
        fleet.server(**apart),
        *(fleet.server(**(clock.environment if everywhere else {})) for _ in range(2)),
    ]
    clients = Clients(seconds=0.05)
    with fleet.running():
        for server in fleet.servers:
            with server.client() as client:
                for task in ("work", "work_in_thread"):  # long enough to be taken over
                    clients.send(client, task=task, seconds=seconds)
        with clients.loading(fleet.servers, jobs=2):
            time.sleep(seconds / 2)
            began_at = time.time()
            for step in STEPS:
                clock.set(step)
                time.sleep(seconds)
            ended_at = time.time()
        stop_schedules(fleet, ["one"] if scheduled else [])
        tidy_up(fleet)
        notes, well = _judge_steps(fleet, everywhere=everywhere)
        if scheduled:
            found = occurrences(fleet)
            span = (began_at, ended_at) if not everywhere else _ahead(began_at, seconds)
            more, fine = _judge_schedule(fleet, found, *span)
            notes, well = [*notes, *more], well and fine
        return Result(fleet.verdict(clients), len(STEPS), fleet.logs(), notes, well)


def _ahead(began_at: float, seconds: float) -> tuple[float, float]:
    """Return the time span, an hour ahead, that no schedule has seen before."""
    return began_at + HOUR + seconds, began_at + HOUR + 2 * seconds


def _judge_steps(fleet: Fleet, *, everywhere: bool) -> tuple[Sequence[str], bool]:
    taken = fleet.logs().count("recovered job=")
    negative = sum(
        each.started_at > each.finished_at
        for each in fleet.records()
        if each.started_at and each.finished_at
    )
    whose = "all clocks" if everywhere else "one clock"
    extra = fleet.verdict(Clients()).extra_runs
    note = f"{whose}: {taken} jobs taken from others, {negative} negative durations"
    return [note], not taken and not negative and not extra


def _judge_schedule(
    fleet: Fleet, found: Occurrences, since: float, until: float
) -> tuple[Sequence[str], bool]:
    missing, twice, lost = found.missing(since, until), created_twice(fleet), not_run(fleet)
    note = (
        f"{len(found.jobs)} occurrences became jobs, {twice} created twice, {lost} not run,"
        f" {len(missing)} missing"
    )
    return [note], not missing and not twice and not lost
