"""The run of one seed, from its first request to the last check."""

import functools
import gc
import itertools
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterword.client import operation
from afterword.model import job as model_job
from afterword.store import sqlite
from simulation import tasks
from simulation.clients import DELIVERIES, Delivery
from simulation.ledger import Ledger
from simulation.process import Process
from simulation.scenario import (
    Act,
    Actor,
    Cut,
    Fault,
    Hold,
    Jump,
    Kill,
    Maker,
    Outage,
    People,
    Restart,
    Scenario,
    Stall,
)
from simulation.store import SimulatedStore
from simulation.world import Livelock, World

RESTART_AFTER = 0.1  # seconds until a process that has ended is replaced
CONNECT_AGAIN = 0.05  # seconds until a client tries again to reach a process
ENDS_WITHIN = 30.0  # seconds; a longer wait counts as endless
LOOK_EVERY = 0.25
COLLECT_EVERY = 20  # runs
_LIVES = 3  # the processes start at most this often, to run jobs that were left queued


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a seed; `trace` is the same for the same seed."""

    scenario: Scenario
    schedule: int
    violations: tuple[str, ...]
    trace: str
    turns: int


class Simulation:
    """One scenario under one schedule."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: int,
        folder: Path,
        talk: Callable[[str], object] | None = None,
    ) -> None:
        self.scenario = scenario
        self.schedule = schedule
        self.path = folder / "jobs.db"
        self.url = f"sqlite{'+pysqlite' if scenario.shared else ''}:///{self.path}"
        self.world = World(f"{scenario.seed} {schedule}", talk)
        self.ledger = Ledger(self.world, scenario, self.path)
        self.numbers = itertools.count(1)
        self.processes: list[Process] = []  # started and not ended
        self._process_numbers = itertools.count(1)
        self._missing = list(range(len(scenario.roles)))  # places whose process has yet to start
        self._waiting = 0  # deliveries that have yet to reach a process
        self._began = 0.0
        self._quiet = self._closing = False
        self._cuts: list[tuple[str, int, Delivery, Cut]] = []
        self._reached: dict[str, int] = {}
        self._kills: list[Kill] = []
        self._holding: list[Hold] = []
        self.only_locks = not scenario.shared and all(
            isinstance(each, Hold) for each in scenario.faults
        )
        self.disturbed = any(
            isinstance(each, Outage | Restart | Kill | Stall | Hold) for each in scenario.faults
        )

    # ------------------------------------------------------------------ from start to end

    def run(self) -> Result:
        """Run the scenario to its end; a violation or an error becomes part of the result."""
        World.current = self.world
        tasks.use(self.ledger)
        random.seed(self.schedule)
        model_job._random.seed(self.schedule)
        model_job._stamps._last = 0
        operation._adding.clear()  # calls that died with an earlier seed's process
        try:
            self._run()
        except Livelock as error:
            self.ledger.broken("end", f"threads take turns without end: {error}")
        except Exception as error:
            self.ledger.broken("error", repr(error))
        finally:
            for process in self.processes:
                process.die()
            self.ledger.close()
            World.current = None
        found = tuple(self.ledger.violations)
        return Result(self.scenario, self.schedule, found, self.world.trace, self.world.turns)

    def _run(self) -> None:
        self._start_missing()
        self._until(lambda: self._up, "the start")
        self._began = self.world.now
        self.ledger.began_at = self.world.now + self.world.wall_is_ahead
        self._schedule()
        self._until(lambda: self._all_over, "the requests")
        self._quiet = True
        self._until(lambda: self._up, "the start")
        self._allow_everything()
        for _ in range(_LIVES):
            self._drain()
            self._stop()
            if self.ledger.violations or not self.ledger.unfinished():
                break
            self._closing, self._missing = False, list(range(len(self.scenario.roles)))
            self._start_missing()  # a thread added a job while its process ended
            self._until(lambda: self._up, "the start")
        if not self.ledger.violations:
            self._check_left(("queued", "running"))
            self.ledger.check_all()

    def _allow_everything(self) -> None:
        """Resume the queue, lift its limit and end the schedule, so that the rest can run."""
        acts = [Act("resume"), Act("limit"), Act("end")]
        wanted = acts if self.scenario.every else acts[:2]
        if self.ledger.violations or not (self.scenario.every or self._has_people):
            return
        self.deliver(People("end", 0.0, tuple(wanted)), 0, after=0.0)
        self._until(lambda: self._all_over, "the people's acts")

    @property
    def _has_people(self) -> bool:
        return any(isinstance(each, People) for each in self.scenario.actors)

    def _until(self, done: Callable[[], bool], what: str) -> bool:
        """Run the world until `done()`; a violation if that takes too long."""

        def broken_or_done() -> bool:
            return bool(self.ledger.violations) or done()

        if self.world.run(broken_or_done, self.world.now + ENDS_WITHIN):
            return True
        self.ledger.broken("end", f"{what} did not end: {self._under_way}")
        return False

    @property
    def _under_way(self) -> str:
        names = [each.name for p in self.processes for each in p.deliveries.values()]
        return ", ".join(names) or "nothing under way"

    @property
    def _up(self) -> bool:
        return not self._missing and all(each.up for each in self.processes)

    @property
    def _all_over(self) -> bool:
        if self._waiting or self.world.now < self._began + self._lasts:
            return False
        return not self._missing and not any(p.deliveries or p.late for p in self.processes)

    @property
    def _lasts(self) -> float:
        ends = [
            each.at + getattr(each, "seconds", 0.0)
            for each in self.scenario.faults
            if not isinstance(each, Jump)
        ]
        return max([6.5 if self.scenario.every else 0.1, *ends])

    # ------------------------------------------------------------------ processes

    def _start_missing(self) -> None:
        while self._missing:
            process = Process(self, next(self._process_numbers), self._missing.pop(0))
            self.processes.append(process)
            process.start()
            self._watch(process)

    def _watch(self, process: Process) -> None:
        """Replace a process that has ended, as a supervisor does."""
        if process.dead or self._closing:
            return
        if process.ended:
            self._replace(process)
        else:
            self.world.at(self.world.now + LOOK_EVERY, lambda: self._watch(process))

    def _replace(self, process: Process) -> None:
        self._end(process)
        self._missing.append(process.place)
        self.world.at(self.world.now + RESTART_AFTER, self._start_missing)

    def _end(self, process: Process) -> None:
        self.processes.remove(process)
        process.die()

    def _any(self, roles: tuple[str, ...] = ("both", "web", "worker")) -> Process | None:
        """Return one of the processes that are up."""
        up = [each for each in self.processes if each.up and each.role in roles]
        return self.world.random.choice(up) if up else None

    def _kill(self, process: Process | None) -> None:
        if process is not None and not process.dead and not self._quiet:
            self._replace(process)

    def _restart(self) -> None:
        process = self._any()
        if process is not None:
            process.stop()

    def _stall(self, seconds: float) -> None:
        """Stop a process and let it go on later, as by SIGSTOP and SIGCONT."""
        process = self._any()
        if process is not None:
            self.world.note(f"process {process.number} is stopped for {seconds:g} s")
            process.frozen = True
            process.slept = max(process.slept, seconds)
            self.world.at(self.world.now + seconds, lambda: self._thaw(process))

    def _thaw(self, process: Process) -> None:
        self.world.note(f"process {process.number} goes on")
        process.frozen = False

    # ------------------------------------------------------------------ actors and faults

    def _schedule(self) -> None:
        for actor in self.scenario.actors:
            times = actor.at if isinstance(actor.at, tuple) else (actor.at,)
            for at in times:
                self.deliver(actor, getattr(actor, "repeats", 0), after=at)
        for fault in self.scenario.faults:
            self.world.at(self._began + fault.at, functools.partial(self._begin, fault))

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, Kill) and fault.point is not None:
            self._kills.append(fault)
        elif isinstance(fault, Kill):
            self._kill(self._any())
        elif isinstance(fault, Restart):
            self._restart()
        elif isinstance(fault, Stall):
            self._stall(fault.seconds)
        elif isinstance(fault, Jump):
            self._jump(fault.seconds)
        elif isinstance(fault, Hold):
            self._hold(fault)

    def _hold(self, hold: Hold) -> None:
        self.world.note(f"a user's transaction holds {hold.key or hold.token}")
        self._holding.append(hold)
        self.world.at(self.world.now + hold.seconds, lambda: self._holding.remove(hold))

    def is_locked(self, wanted: Sequence[str]) -> bool:
        """True if a user's transaction holds one of these keys, or one of these jobs."""
        return any(
            each.key in wanted or (each.token and f'"{each.token}"' in text)
            for each in self._holding
            for text in wanted or ("",)
        )

    def _jump(self, seconds: float) -> None:
        self.world.note(f"the clock jumps by {seconds:g} s")
        self.world.wall_is_ahead += seconds
        self.ledger.jumped = True

    def deliver(self, actor: Actor, repeats: int, after: float) -> None:
        """Let an actor try after some seconds, as soon as a process is up."""
        self._waiting += 1
        self.world.at(self.world.now + after, lambda: self._deliver(actor, repeats))

    def _deliver(self, actor: Actor, repeats: int) -> None:
        self._waiting -= 1
        process = self._any() if isinstance(actor, People) else self._any(("both", "web"))
        if process is None:
            self.deliver(actor, repeats, CONNECT_AGAIN)
        else:
            DELIVERIES[type(actor)](self, actor, process, repeats).begin()

    def cut_later(self, delivery: Delivery, cut: Cut) -> None:
        """Arrange for a delivery to be cut: after some time, or at a point of the store."""
        if cut.after is not None:
            self.world.at(self.world.now + cut.after, lambda: delivery.cut(cut))
        else:
            self._cuts.append((cut.point, self._reached.get(cut.point, 0) + cut.nth, delivery, cut))

    def reached(self, process: Process, point: str) -> None:
        """Make the cuts and kills that wait for this point of a process's store."""
        self._reached[point] = count = self._reached.get(point, 0) + 1
        for each in [each for each in self._cuts if (each[0], each[1]) == (point, count)]:
            self._cuts.remove(each)
            self.world.at(self.world.now, functools.partial(each[2].cut, each[3]))
        for kill in [each for each in self._kills if each.point == point]:
            self._kills.remove(kill)
            self.world.at(self.world.now, functools.partial(self._kill, process))

    def fault(self) -> str | None:
        """Return the kind of fault that transactions have now, if any."""
        if self._quiet:
            return None
        since = self.world.now - self._began
        for each in self.scenario.faults:
            if (
                isinstance(each, Outage)
                and each.at <= since < each.at + each.seconds
                and self._began
            ):
                return each.kind
        return None

    def latency(self, fault: str | None) -> float:
        """Return the seconds that the store takes now."""
        chance = self.world.random
        if fault == "slow":
            return chance.choice((0.0, 0.01, 0.2, 1.5))
        if self._quiet or chance.random() > 0.15:
            return 0.0
        return chance.choice((0.0005, 0.001, 0.005, 0.02))

    # ------------------------------------------------------------------ the end

    def _drain(self) -> None:
        """Let all stored jobs run, then let time jump and run those that are for later."""
        for _ in range(2):
            self._drained = False
            self.world.at(self.world.now, self._look)
            if not self.world.run(
                lambda: self._drained or bool(self.ledger.violations), self.world.now + ENDS_WITHIN
            ):
                break
            if not self.ledger.unfinished():
                return
            self._jump(7200.0)

    def _look(self) -> None:
        now = self.world.now + self.world.wall_is_ahead
        self.ledger.check_orphans()
        due = [each for each in self.ledger.unfinished() if each[1] == "running" or each[3] <= now]
        self._drained = not due or self._all_wait_for_later(due, now)
        if not self._drained:
            self.world.at(self.world.now + LOOK_EVERY, self._look)

    def _all_wait_for_later(self, due: list[Any], now: float) -> bool:
        """True if every job that is due follows a job that is for later."""
        later = any(each[1] == "queued" and each[3] > now for each in self.ledger.unfinished())
        return later and all(each[1] == "queued" and each[4] is not None for each in due)

    def _stop(self) -> None:
        if self.ledger.violations:
            return
        self._closing = True
        for process in self.processes:
            process.stop()
        if self._until(lambda: all(each.ended for each in self.processes), "the shutdown"):
            for process in list(self.processes):
                self._end(process)
            self._check_left(("running",))

    def _check_left(self, states: tuple[str, ...]) -> None:
        for job_id, state, token, *_ in self.ledger.unfinished():
            if state in states:
                self.ledger.broken("I9", f"{token} (job {job_id[-6:]}) is left {state}")


# ---------------------------------------------------------------------- for callers


def prepare() -> None:
    """Make the process ready to run seeds."""
    logging.getLogger("afterword").setLevel(logging.CRITICAL + 1)
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    sqlite.SQLiteStore = SimulatedStore  # type: ignore[misc,assignment]
    sys.unraisablehook = lambda unraisable: None  # remains of processes that died
    gc.collect()
    gc.freeze()
    gc.disable()


def run(seed: int, *, talk: Callable[[str], object] | None = None) -> Result:
    """Run the scenario of a seed."""
    return run_scenario(Maker(seed).make(), seed, talk=talk)


def run_scenario(
    scenario: Scenario, schedule: int, *, talk: Callable[[str], object] | None = None
) -> Result:
    """Run a scenario under a schedule."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=_FAST))
    try:
        shutil.copyfile(_template(shared=scenario.shared), folder / "jobs.db")
        return Simulation(scenario, schedule, folder, talk).run()
    finally:
        shutil.rmtree(folder)
        if next(_runs) % COLLECT_EVERY == 0:
            gc.collect()  # only between two seeds: it closes coroutines that are left


_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a file system in memory
_runs = itertools.count(1)
_templates: dict[bool, Path] = {}


def _template(*, shared: bool) -> Path:
    """Return a store that is migrated already: migrating takes longer than most seeds."""
    if shared not in _templates:
        folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=_FAST))
        url = f"sqlite{'+pysqlite' if shared else ''}:///{folder / 'jobs.db'}"
        real: Any = SimulatedStore.__mro__[1]
        store = real.from_url(url)
        store.open()
        store.close()
        _templates[shared] = folder / "jobs.db"
    return _templates[shared]
