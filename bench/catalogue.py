"""The measured systems: for each its name, its store and the packages it needs.

A system is one entry here and one file in bench/peers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of store."""

    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"
    REDIS = "Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A system with one store and one kind of function.

    Args:
        name: its name on the command line.
        title: its name in the tables.
        module: its file in bench/peers.
        kind: the kind of its store.
        function: the kind of its jobs, "async def" or "def".
        requirements: packages to install in its environment; if none, it runs in the project's own.
        packages: packages whose versions are published.
    """

    name: str
    title: str
    module: str
    kind: Kind
    function: str
    requirements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """True if it is Afterword."""
        return self.module == "afterword"


def _ours(kind: Kind, function: str) -> Contestant:
    suffix = "-def" if function == "def" else ""
    return Contestant(
        name=f"afterword-{kind.lower()}{suffix}",
        title=f"Afterword ({kind}), {function}",
        module="afterword",
        kind=kind,
        function=function,
        packages=("afterword",),
    )


OURS = [
    _ours(kind, function)
    for kind in (Kind.SQLITE, Kind.POSTGRESQL)
    for function in ("async def", "def")
]


def _peer(
    module: str, kind: Kind, function: str, title: str, *requirements: str, store: str = ""
) -> Contestant:
    return Contestant(
        name=f"{module}-{kind.lower()}",
        title=f"{title} ({store or kind}), {function}",
        module=module,
        kind=kind,
        function=function,
        requirements=requirements,
        packages=(module,),
    )


_HUEY = ("huey>=3.5", "redis", "hiredis")
_SAQ = ("saq[redis,postgres]>=0.26", "hiredis", "orjson", "uvloop")
_DBOS = ("dbos>=3.4",)
PEERS = [
    _peer("huey", Kind.SQLITE, "def", "Huey", *_HUEY, store="SQLite, fsync"),
    _peer(
        "pgqueuer",
        Kind.POSTGRESQL,
        "async def",
        "pgqueuer",
        *("pgqueuer[asyncpg,cli]>=1.6", "uvloop"),
    ),
    _peer(
        "procrastinate",
        Kind.POSTGRESQL,
        "async def",
        "Procrastinate",
        *("procrastinate>=3.10", "psycopg[binary]", "uvloop"),
    ),
    _peer("arq", Kind.REDIS, "async def", "arq", "arq>=0.28", "hiredis", "uvloop"),
    _peer("dramatiq", Kind.REDIS, "def", "Dramatiq", "dramatiq[redis]>=2.2", "hiredis"),
    _peer("huey", Kind.REDIS, "def", "Huey", *_HUEY),
    _peer("saq", Kind.REDIS, "async def", "SAQ", *_SAQ),
    _peer("saq", Kind.POSTGRESQL, "async def", "SAQ", *_SAQ),
    _peer("dbos", Kind.POSTGRESQL, "async def", "DBOS", *_DBOS),
    _peer("dbos", Kind.SQLITE, "async def", "DBOS", *_DBOS),
]


def rivals(peer: Contestant) -> Sequence[Contestant]:
    """Return our contestants to compare with a peer: the same kind of function and store.

    There is no Afterword on Redis, so a peer on Redis is compared on each of our stores.
    """
    return [
        each
        for each in OURS
        if each.function == peer.function and peer.kind in (each.kind, Kind.REDIS)
    ]


def chosen(names: Sequence[str] | None) -> Sequence[Contestant]:
    """Return the peers with these names; all of them for None.

    Raises:
        SystemExit: a name is unknown.
    """
    known = {each.name: each for each in PEERS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SystemExit(f"scripts/bench: no peer is called {unknown}; there are {list(known)}.")
    return PEERS if names is None else [known[name] for name in names]
