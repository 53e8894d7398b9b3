"""Scenarios: the clients' actions and the faults of one seed, as values made from the seed.

Every action prints as one line, so a failing scenario can be read. Every action can be left out,
so a failing scenario can be made smaller (`shrink`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

CROWDED = 0.15  # part of the seeds with more jobs than slots
ADDED_AGAIN = 0.05  # part of the seeds that add cancelled jobs again
SPAN = 2.0  # seconds within which everything begins


class _Line:
    """A value that prints as `Name(field=value)`, without fields that have their default."""

    def __str__(self) -> str:
        said: list[str] = []
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value != each.default:
                said.append(f"{each.name}={_text(value)}")
        return f"{type(self).__name__}({', '.join(said)})"

    __repr__ = __str__


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return value if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True, repr=False)
class Add(_Line):
    """One call of add_task.

    Args:
        token: the name of the work: everything that runs for it runs under this name.
        kind: a key of `tasks.KINDS`.
        how: "injected": BackgroundTasks; "hand": on the Response; "here": cannot be stored.
        unique: a key; calls with the same key have the same token.
        delay: seconds.
    """

    token: str
    kind: str = "quick"
    how: str = "injected"
    unique: str | None = None
    delay: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Pause(_Line):
    """A wait of the handler."""

    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Late(_Line):
    """A task or thread that the handler starts; it adds later, usually after the request."""

    adds: tuple[Add, ...]
    after: float
    thread: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Direct(_Line):
    """An `await afterword.add_task(...)` in the handler, perhaps for a limited time."""

    add: Add
    timeout: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Bound(_Line):
    """One binding for several transactions; each is (adds, True for commit)."""

    rounds: tuple[tuple[tuple[Add, ...], bool], ...]
    connection: str = "session"


Step = Add | Pause | Late | Direct | Bound


@dataclass(frozen=True, slots=True, repr=False)
class Cut(_Line):
    """A client that gives up: some time after it began, or when the store reaches a point."""

    after: float | None = None
    point: str = "committed"
    nth: int = 1
    disconnect: bool = False  # the client disconnects; otherwise the task is cancelled


@dataclass(frozen=True, slots=True, repr=False)
class Request(_Line):
    """A request, delivered once; several times if it has an Idempotency-Key."""

    name: str
    at: tuple[float, ...]
    steps: tuple[Step, ...]
    route: str = "async"
    ending: str = "return"
    key: bool = False
    repeats: int = 0  # number of retries while the answer is a 503
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Socket(_Line):
    """A WebSocket; its handler adds and sends from several coroutines."""

    name: str
    at: float
    senders: tuple[tuple[Add, ...], ...]
    ending: str = "return"
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Call(_Line):
    """A call outside of requests: `afterword.add_task`, or in a thread `add_task_sync`."""

    name: str
    at: float
    add: Add
    thread: bool = False
    timeout: float | None = None
    repeats: int = 0
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Act(_Line):
    """One act of a person.

    Args:
        verb: "pause", "resume" or "limit" the queue "mail"; "tick" resumes the schedule, "end"
            pauses it; "cancel", "retry" or "delete" a job; "erase" deletes a job's row by hand.
        after: seconds to wait before the act.
        number: the limit; None for no limit.
    """

    verb: str
    after: float = 0.0
    number: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class People(_Line):
    """A person who acts in one process, and in another one when it dies."""

    name: str
    at: float
    acts: tuple[Act, ...]
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Hold(_Line):
    """An open transaction of a user that holds a unique key or a job's row.

    The store is SQLite, but answers as PostgreSQL does.

    Args:
        key: the unique key that it holds.
        token: the jobs that it holds, having added another one behind them.
    """

    at: float
    seconds: float
    key: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Outage(_Line):
    """A time of trouble for transactions: kind refuse, fail, doubt, interrupt, slow or break."""

    at: float
    seconds: float
    kind: str


@dataclass(frozen=True, slots=True, repr=False)
class Kill(_Line):
    """The death of a process, at a time or when its store reaches a point; another one starts."""

    at: float
    point: str | None = None  # the first time that the store reaches it from then on


@dataclass(frozen=True, slots=True, repr=False)
class Restart(_Line):
    """A normal shutdown of a process; another one starts."""

    at: float


@dataclass(frozen=True, slots=True, repr=False)
class Stall(_Line):
    """A stop of the process for some time, as by SIGSTOP; then it goes on."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Jump(_Line):
    """A change of the wall clock."""

    at: float
    seconds: float


Actor = Request | Socket | Call | People
Fault = Outage | Kill | Restart | Stall | Jump | Hold


@dataclass(frozen=True, slots=True)
class Scenario:
    """The settings, clients and faults of one seed.

    Args:
        roles: one per process: "both", "web" or "worker"; only the first two get requests.
        skews: seconds by which the clock of each process's host is ahead of the store's.
        every: seconds between two occurrences of the schedule; two numbers are the rules of two
            releases, which the processes have in turn.
        retention: seconds for which ended jobs are kept.
    """

    seed: int
    shared: bool  # the store lives in the application's own file (sqlite+pysqlite)
    order: str
    on_failure: str
    idempotent: bool
    concurrency: int
    roles: tuple[str, ...]
    actors: tuple[Actor, ...]
    faults: tuple[Fault, ...]
    skews: tuple[float, ...] = ()
    every: tuple[int, ...] = ()
    retention: float | None = None

    def lines(self) -> Sequence[str]:
        """Return the scenario as text, a line for each actor and fault."""
        store = "sqlite+pysqlite" if self.shared else "sqlite"
        options = f"order={self.order}, on_failure={self.on_failure}"
        options += f", idempotent={self.idempotent}, concurrency={self.concurrency}"
        if self.retention is not None:
            options += f", retention={self.retention:g}"
        head = f"Afterword(app, {store}, {options})"
        if self.roles != ("both",):
            head += f", in processes of the kinds {', '.join(self.roles)}"
        if any(self.skews):
            head += f", clocks {', '.join(f'{each:+g} s' for each in self.skews)}"
        if self.every:
            head += f", every {' or '.join(map(str, self.every))} s a job"
        return [head, *map(str, self.actors), *map(str, self.faults)]


# ---------------------------------------------------------------------- made from a seed


POINTS = ("begun", "committing", "committed")
_ENDINGS = {
    "any": ("return",) * 4 + ("raise", "refuse"),
    "stream": ("return", "return", "raise", "body fails", "body fails"),
}
DELAYS = (0.0, 0.0, 0.0, 0.0005, 0.001, 0.005, 0.02, 0.1)
_ROLES = (
    ("both",),
    ("both", "both"),
    ("web", "worker"),
    ("both", "worker"),
    ("web", "worker", "worker"),
    ("both", "both", "worker"),
)
RULED = (
    "mail",
    "mail",
    "single",
    "rated",
)  # kinds of tasks with a queue of their own, a limit, a rate
_VERBS = (
    "pause",
    "pause",
    "limit",
    "limit",
    "cancel",
    "cancel",
    "retry",
    "delete",
    "erase",
    "tick",
)


def _crowded(plain: Scenario, random: Random) -> Scenario:
    """Make a scenario with more jobs than slots: workers claim ahead and have jobs to release."""
    kind = random.choice(("slow", "thread", "mail", "mail", "single", "paired", "paired"))
    name = "r0"
    adds = tuple(Add(f"{name}.{n}", kind) for n in range(1, random.randint(6, 16)))
    acts = [Act(random.choice(("pause", "limit")), random.random() * 0.4, random.choice((1, 2)))]
    acts += [Act("resume", random.choice((0.0, 0.3))), *acts]
    people = (People("people", 0.0, tuple(acts)),) if kind == "mail" else ()
    trouble = random.choice(("doubt", "doubt", "interrupt", "fail", "slow", None))
    at, seconds = random.random(), random.choice((0.05, 0.3, 0.6))
    return replace(
        plain,
        order="concurrent",
        concurrency=random.choice((1, 2, 4)),
        roles=random.choice((("both",), ("both", "both"), ("web", "worker", "worker"))),
        actors=(Request(name, (0.0,), adds), *people),
        faults=(Outage(at, seconds, trouble),) if trouble else (),
        every=(),
        skews=(),
        retention=None,
    )


def _added_again(plain: Scenario, random: Random) -> Scenario:
    """Make a scenario in which jobs with one key are cancelled and added again while they run."""
    times = [0.0, *sorted(random.random() * 0.6 for _ in range(3))]
    add = Add("u.k", "slow", unique="k")
    calls: list[Actor] = [Call(f"r{n}", at, add) for n, at in enumerate(times)]
    acts = tuple(Act("cancel", random.random() * 0.3) for _ in range(2))
    roles = random.choice((("both",), ("both", "both"), ("web", "worker")))
    actors = (*calls, People("people", 0.0, acts))
    return replace(plain, roles=roles, actors=actors, every=(), skews=(), retention=None)


class Maker:
    """A maker of the scenario of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random(f"scenario {seed}")
        # The seed's theme: how often calls have a key, cannot be stored, or are for later.
        self._keys = self._random.choice((("k",), ("k", "l")))
        self._unique = self._random.choice((0.0, 0.15, 0.6))
        self._here = self._random.choice((0.0, 0.2, 0.7))
        self._later = self._random.choice((0.0, 0.1, 0.4))
        # Everything beyond requests has its own random choices, so that those of requests stay.
        self._beyond = Random(f"beyond {seed}")
        self._grown = self._beyond.random() < 0.6
        self._ruled = self._beyond.choice((0.0, 0.3, 0.8)) if self._grown else 0.0

    def make(self) -> Scenario:
        """Make the scenario."""
        random = self._random
        self._shared = random.random() < 0.3
        idempotent = random.random() < 0.3
        # At most two kinds of clients for each seed, so that calls of one kind meet often.
        makers: list[Callable[[str], Actor]] = [self._request, self._socket, self._call]
        kinds = random.sample([self._request, *makers], 2)
        actors = [random.choice(kinds)(f"r{n}") for n in range(random.randint(1, 4))]
        order = random.choice(("sequential", "sequential", "concurrent"))
        on_failure = random.choice(("stop", "stop", "continue"))
        concurrency = random.choice((1, 2, 40))
        roles = random.choice((("both",), ("both",), ("both",), ("both", "both")))
        actors = [self._with_key(each) if idempotent else each for each in actors]
        faults = self._faults()
        plain = Scenario(
            seed=self._seed,
            shared=self._shared,
            order=order,
            on_failure=on_failure,
            idempotent=idempotent,
            concurrency=concurrency,
            roles=roles,
            actors=tuple(actors),
            faults=tuple(faults),
        )
        grown = self._grow(plain) if self._grown else plain
        random = Random(f"crowd {self._seed}")
        theme = random.random()
        if theme < CROWDED:
            return _crowded(grown, random)
        return _added_again(grown, random) if theme < CROWDED + ADDED_AGAIN else grown

    def _grow(self, plain: Scenario) -> Scenario:
        """Add more processes, people, schedules, held locks and skewed clocks."""
        beyond = self._beyond
        roles = beyond.choice(_ROLES)
        people = (self._people(),) if beyond.random() < 0.6 else ()
        holds = tuple(self._holds()) if beyond.random() < 0.3 else ()
        # Only without other faults is it certain that a refused call met a lock.
        faults = () if holds and beyond.random() < 0.7 else plain.faults
        if not holds and beyond.random() < 0.1:
            faults = (*faults, Outage(beyond.random() * 0.3, beyond.choice((0.01, 0.3)), "break"))
        return replace(
            plain,
            roles=roles,
            actors=(*plain.actors, *people),
            faults=(*faults, *holds),
            skews=tuple(beyond.choice((0.0, 3600.0, -3600.0, -8 * 86400.0)) for _ in roles)
            if beyond.random() < 0.3
            else (),
            every=beyond.choice(((1,), (2, 3), (2, 3))) if beyond.random() < 0.25 else (),
            retention=1.0 if not plain.idempotent and beyond.random() < 0.2 else None,
        )

    def _people(self) -> People:
        beyond = self._beyond
        verbs = beyond.choices(_VERBS, k=beyond.randint(1, 4))
        acts = tuple(
            Act(
                verb,
                beyond.choice((0.0, 0.001, 0.05, 0.3)),
                beyond.choice((1, 2, None)) if verb == "limit" else None,
            )
            for verb in verbs
        )
        at = beyond.choice((0.0, 0.0, 0.01, 0.05, beyond.random() * SPAN))
        return People("people", at, acts)

    def _holds(self) -> Iterator[Hold]:
        beyond = self._beyond
        for _ in range(beyond.randint(1, 2)):
            at = beyond.choice((0.0, 0.01, beyond.random() * 0.2))
            seconds = beyond.choice((0.1, 0.6, 3.0))
            if beyond.random() < 0.6:
                yield Hold(at, seconds, key=beyond.choice(self._keys))
            else:
                yield Hold(at, seconds, token=beyond.choice(("r0.1", "r1.1", "r0.1.1", "r0.2")))

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _pause(self) -> float:
        return self._random.choice(DELAYS)

    def _time(self) -> float:
        """Choose the time at which something begins, often the same time as something else."""
        return self._random.choice((0.0, 0.0, 0.0, 0.001, 0.01, 0.1, self._random.random() * SPAN))

    # ------------------------------------------------------------------ clients

    def _add(self, token: str, *, hows: Sequence[str] = (), plain: bool = False) -> Add:
        random = self._random
        kind = random.choice(("quick", "quick", "thread", "slow", "fails", "flaky"))
        if self._ruled and self._beyond.random() < self._ruled:
            kind = self._beyond.choice(RULED)
        if plain:
            return Add(token, kind)
        how = random.choice(hows) if hows else "injected"
        if self._chance(self._unique):
            key = random.choice(self._keys)
            # A slow job still runs when others with its key are added.
            later = random.choice((None, None, 0.05, 1.0))
            slow = self._grown and self._beyond.random() < 0.3
            return Add(f"u.{key}", "slow" if slow else "quick", how, unique=key, delay=later)
        later = random.choice((0.05, 1.0, 3600.0, 3600.0)) if self._chance(self._later) else None
        return Add(token, kind, how, delay=later)

    def _add_here(self, token: str) -> Add:
        return Add(token, self._random.choice(("quick", "quick", "fails")), "here")

    def _adds(self, name: str, most: int, **said: Any) -> tuple[Add, ...]:
        return tuple(
            self._add(f"{name}.{n}", **said) for n in range(1, self._random.randint(1, most) + 1)
        )

    def _request(self, name: str) -> Request:
        random = self._random
        route = random.choice(("async", "async", "def", "hand", "stream", "stream"))
        by_hand = ("hand", "injected") if route in {"hand", "stream"} else ()
        steps: list[Step] = list(self._adds(name, 4, hows=by_hand))
        if not by_hand and self._chance(self._here):
            steps.insert(random.randint(0, len(steps)), self._add_here(f"{name}.here"))
        if self._chance(0.4):
            steps.insert(random.randint(0, len(steps)), Pause(self._pause()))
        if self._chance(0.25):
            adds = self._adds(f"{name}.late", 2, plain=True)
            steps.append(Late(adds, random.choice((0.0, 0.001, 0.05, 0.3)), self._chance(0.5)))
        if self._chance(0.15) and route != "def":
            add = self._add(f"{name}.direct")
            steps.insert(random.randint(0, len(steps)), Direct(add, self._timeout()))
        if self._shared and self._chance(0.6):
            steps.insert(random.randint(0, len(steps)), self._bound(f"{name}.bound"))
        return Request(
            name,
            at=(self._time(),),
            steps=tuple(steps),
            route=route,
            ending=random.choice(_ENDINGS.get(route, _ENDINGS["any"])),
            repeats=random.choice((0, 3)),
            cut=self._cut(0.35),
        )

    def _bound(self, name: str) -> Bound:
        rounds = tuple(
            (self._adds(f"{name}{n}", 2), self._chance(0.6))
            for n in range(self._random.randint(1, 3))
        )
        if len(rounds) > 1 and self._chance(0.5):  # roll the first one back, then try it again
            rounds = ((rounds[0][0], False), (rounds[0][0], True), *rounds[2:])
        connection = self._random.choice(("session", "sqlite3", "connection"))
        return Bound(rounds, connection)

    def _with_key(self, actor: Actor) -> Actor:
        """Give a request an Idempotency-Key, and send it up to three times."""
        if not isinstance(actor, Request):
            return actor
        steps = [each for each in actor.steps if not isinstance(each, Direct)]
        steps = [each for each in steps if not (isinstance(each, Add) and each.unique)]
        at = actor.at[0]
        more = [at + self._random.choice((0.0, 0.001, 0.1, 1.0)) for _ in range(2)]
        return Request(
            actor.name,
            at=(at, *more[: self._random.randint(0, 2)]),
            steps=tuple(steps),
            route=actor.route,
            ending=actor.ending,
            key=True,
            repeats=actor.repeats,
            cut=actor.cut,
        )

    def _socket(self, name: str) -> Socket:
        senders = tuple(
            self._adds(f"{name}.{n}", 3) for n in range(1, self._random.randint(1, 3) + 1)
        )
        ending = self._random.choice(("return", "return", "raise"))
        return Socket(name, self._time(), senders, ending, self._cut(0.3))

    def _call(self, name: str) -> Call:
        thread = self._chance(0.3)
        return Call(
            name,
            self._time(),
            self._add(f"{name}.1"),
            thread,
            None if thread else self._timeout(),
            self._random.choice((0, 3)),
            None if thread else self._cut(0.5),
        )

    def _timeout(self) -> float | None:
        return self._random.choice((None, None, 0.0005, 0.001, 0.005, 0.02))

    def _cut(self, probability: float) -> Cut | None:
        if not self._chance(probability):
            return None
        disconnect = self._chance(0.3)
        if self._chance(0.4):
            return Cut(after=self._pause(), disconnect=disconnect)
        point, nth = self._random.choice(POINTS), self._random.choice((1, 1, 1, 2, 3))
        return Cut(point=point, nth=nth, disconnect=disconnect)

    # ------------------------------------------------------------------ faults

    def _faults(self) -> Sequence[Fault]:
        random = self._random
        faults: list[Fault] = []
        if self._chance(0.5):
            kind = random.choice(("refuse", "fail", "doubt", "interrupt", "slow", "slow"))
            faults.append(Outage(self._time(), random.choice((0.001, 0.05, 0.5, 1.5)), kind))
        if self._chance(0.3):
            point = random.choice((None, *POINTS))
            faults.append(Kill(self._time(), point))
            if self._chance(0.3):
                faults.append(Kill(self._time() + 0.5, point))
        if self._chance(0.1):
            faults.append(Restart(self._time() + 0.001))
        if self._chance(0.1):
            faults.append(Stall(self._time(), random.choice((0.01, 1.0, 5.0))))
        if self._chance(0.1):
            faults.append(Jump(self._time(), random.choice((3600.0, -3600.0, 5.0))))
        return faults
