"""Schedules of every second while their processes are killed (F36) or frozen (F35)."""

import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from afterword import JobRecord, JobState
from chaos.findings import KEPT, Finding, judge
from chaos.lab import Lab
from chaos.process import freeze
from chaos.storm import wait_ended
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet
from tests.crash.ledger import due_at, is_occurrence, number_of
from tests.helpers import wait_until

GRACE = 60.0  # seconds, the default: an occurrence that is later counts as missed
POLICIES = ("one", "all", "skip")
ALONE = 3.0  # seconds between two freezes


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The occurrences of one schedule that became jobs, by the second when they were due."""

    jobs: Mapping[int, JobRecord]

    @property
    def late(self) -> float:
        """Seconds by which the latest job was late."""
        ages = (job.created_at.timestamp() - due for due, job in self.jobs.items())
        return max(ages, default=0.0)

    def missing(self, since: float, until: float) -> list[int]:
        """Return the seconds in this span without a job."""
        expected = range(math.ceil(since), math.floor(until) + 1)
        return [due for due in expected if due not in self.jobs]

    def within(self, since: float, until: float) -> set[int]:
        """Return the seconds in this span with a job."""
        return {due for due in self.jobs if since <= due <= until}


def occurrences(fleet: Fleet, lane: int = 1) -> Occurrences:
    """Return a schedule's jobs in the store; lane 1 is the first schedule that EVERY names."""
    ticks = [each for each in fleet.records() if is_occurrence(each)]
    return Occurrences({due_at(each.id): each for each in ticks if number_of(each) % 10 == lane})


def stop_schedules(fleet: Fleet, policies: Iterable[str]) -> None:
    """Pause the schedules, and wait for the jobs that they have made."""
    for policy in policies:
        fleet.store.pause_schedule(f"tick-{policy}", True)
    wait_ended(fleet, timeout=120)
    for server in fleet.servers:
        server.stop()


def created_twice(fleet: Fleet) -> int:
    """Count the occurrences that became jobs more than once, by commits in the stores."""
    created = Counter(line.number for line in fleet.ledger.lines("created"))
    return sum(times > 1 for times in created.values())


def not_run(fleet: Fleet) -> int:
    """Count the occurrences' jobs that did not run to their end."""
    finished = fleet.ledger.numbers("finished")
    return sum(
        record.state is not JobState.COMPLETED or number_of(record) not in finished
        for record in fleet.records()
        if is_occurrence(record)
    )


# ---------------------------------------------------------------------- killed


def kill_schedulers(lab: Lab, *, seconds: float = 120.0, every: float = 2.0) -> Finding:
    """F36: three processes have one schedule and are killed one after the other."""
    return judge(
        "F36",
        lab,
        f"every(seconds=1) in 3 processes, kill -9 of a random one every {every:g} s (there is no"
        f" leader), for {seconds:.0f} s; at each moment one of them works",
        lambda room: _kill_schedulers(room, seconds, every),
        required="a job for each second, created once, within the grace time of 60 s; each run to"
        " its end",
    )


def _kill_schedulers(lab: Lab, seconds: float, every: float) -> Result:
    fleet = lab.fleet(3, EVERY="one", ORDER="concurrent", LEASE=5)
    with fleet.running():
        began_at = time.time()
        hits = _kill_one_of_them(fleet, began_at + seconds, every)
        ended_at = time.time()
        wait_until(
            lambda: max(occurrences(fleet).jobs, default=0) > ended_at,
            description="the schedule goes on",
            timeout=30,
            every=0.2,
        )
        stop_schedules(fleet, ["one"])
        note, well = _count(fleet, began_at, ended_at)
        return Result(fleet.verdict(Clients()), hits, fleet.logs(), [note], well)


def _kill_one_of_them(fleet: Fleet, until: float, every: float) -> int:
    """Kill and restart servers until a time; returns the kills. Another one always works."""
    dice, hits = random.Random(36), 0
    while time.time() < until:
        server = dice.choice(fleet.servers)
        others = [each for each in fleet.servers if each is not server]
        wait_until(lambda: any(each.accepts() for each in others), description="another one works")  # noqa: B023
        fleet.kill(server)
        hits += 1
        fleet.start(server, wait=False)
        time.sleep(every)
    return hits


def _count(fleet: Fleet, since: float, until: float) -> tuple[str, bool]:
    found = occurrences(fleet)
    missing, twice, lost = found.missing(since, until), created_twice(fleet), not_run(fleet)
    note = (
        f"{len(found.jobs)} occurrences became jobs, {len(missing)} are missing,"
        f" {twice} were created twice, {lost} not run; the latest was created"
        f" {found.late:.1f} s after its time"
    )
    return note, not missing and not twice and not lost and found.late < GRACE


# ---------------------------------------------------------------------- frozen


def freeze_schedulers(lab: Lab, *, lease: float = 2.0, times: int = 5) -> Finding:
    """F35: the same as F5 with schedules: each makes up for missed occurrences by its policy."""
    return judge(
        "F35",
        lab,
        f"all 3 processes frozen at once for 2 leases, {times} times, while they drain"
        f" {200 * times:,} jobs;"
        " schedules of every second with 1 s of grace that make up for all they missed, for"
        " one, for none",
        lambda room: _freeze_schedulers(room, lease, times),
        required=f"{KEPT}; the schedules go on within 2 s, and made up as they say",
    )


def _freeze_schedulers(lab: Lab, lease: float, times: int) -> Result:
    policies = " ".join(POLICIES)
    fleet = lab.fleet(
        3, LEASE=lease, ORDER="concurrent", CONCURRENCY=4, EVERY=policies, EVERY_GRACE=1
    )
    clients = Clients(seconds=0.3)
    with fleet.running():
        with fleet.servers[0].client() as client:
            for _ in range(4 * times):
                clients.send(client, jobs=50)
        freezes = [_freeze(fleet, 2 * lease) for _ in range(times)]
        time.sleep(ALONE)
        stop_schedules(fleet, POLICIES)
        notes, well = _judge_freezes(fleet, freezes)
        return Result(fleet.verdict(clients), times, fleet.logs(), notes, well)


def _freeze(fleet: Fleet, seconds: float) -> tuple[float, float]:
    """Freeze everything for a while; returns the times of beginning and end."""
    time.sleep(ALONE)
    frozen_at = time.time()
    freeze(fleet, seconds)
    return frozen_at, time.time()


def _judge_freezes(
    fleet: Fleet, freezes: Sequence[tuple[float, float]]
) -> tuple[Sequence[str], bool]:
    lanes = {policy: occurrences(fleet, lane) for lane, policy in enumerate(POLICIES, 1)}
    wrong = [text for each in freezes for text in _wrongly_made_up(lanes, *each)]
    missing = lanes["all"].missing(freezes[0][0], freezes[-1][1])
    twice, lost = created_twice(fleet), not_run(fleet)
    back = max(_seconds_until_back(lanes["skip"], thawed_at) for _, thawed_at in freezes)
    counts = ", ".join(f"{len(lane.jobs)} ({policy})" for policy, lane in lanes.items())
    notes = [
        f"occurrences that became jobs: {counts}; {twice} created twice, {lost} not run;"
        f" {len(missing)} of those to be made up for missing",
        f"the schedules went on after {back:.1f} s at worst",
        *wrong,
    ]
    return notes, not missing and not twice and not lost and not wrong and back < 2.0


def _wrongly_made_up(
    lanes: Mapping[str, Occurrences], frozen_at: float, thawed_at: float
) -> Iterable[str]:
    """Compare the three schedules, which differ in their policy only, after one freeze."""
    made = {
        policy: lane.within(frozen_at - ALONE / 2, thawed_at + ALONE / 2)
        for policy, lane in lanes.items()
    }
    missed = made["all"] - made["skip"]
    if len(missed) < 2:
        yield f"a freeze of {thawed_at - frozen_at:.1f} s made nothing miss an occurrence"
    elif made["one"] != made["skip"] | {max(missed)}:
        extra = sorted(made["one"] - made["skip"])
        yield f"of the missed {sorted(missed)} not the latest one was made up for, but {extra}"


def _seconds_until_back(lane: Occurrences, thawed_at: float) -> float:
    created = [job.created_at.timestamp() for job in lane.jobs.values()]
    return min((at for at in created if at > thawed_at), default=math.inf) - thawed_at
