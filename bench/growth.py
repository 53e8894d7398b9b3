"""G: the cost of a job in a store with a million waiting and ten million ended jobs.

The same batches are added, claimed and settled on the empty store and on the full one. The waiting
jobs have all three reasons to wait: for a worker (in another queue), for their time, for another
job.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import apsw
import psycopg

from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, Store
from bench.options import Options
from bench.result import Result

BATCH = 40  # jobs; a worker with 40 slots claims as many
BATCHES = 100
VERBS = ("add", "claim", "settle")

# Ids sort by time; these are older than any new id. `n` counts the rows of one kind.
_POSTGRES = {
    "id": """CAST('01900000-' || lpad(to_hex(n / 65536), 4, '0') || '-7'
        || lpad(to_hex(n % 4096), 3, '0') || '-8' || lpad(to_hex({kind}), 3, '0') || '-'
        || lpad(to_hex(n), 12, '0') AS uuid)""",
    "series": "generate_series(1, {most}) AS n",
    "with": "",
    "at": "to_timestamp({seconds})",
    "prefix": "afterword.",
}
_SQLITE = {
    "id": "printf('01900000-%04x-7%03x-8%03x-%012x', n / 65536, n % 4096, {kind}, n)",
    "series": "series",
    "with": """WITH RECURSIVE series (n) AS (
        SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {most}
    )""",
    "at": "{seconds}",
    "prefix": "afterword_",
}
_LATER = 4e9  # seconds since 1970


def measure(options: Options) -> list[Result]:
    """Measure each store empty, fill it, and measure again."""
    queued, ended = options.queued, options.ended
    rows, data = [], {}
    with _stores(options.urls) as given:
        for url in given:
            before, after, plan = _measure(url, queued, ended)
            scheme = url.partition(":")[0]
            data[scheme] = {"empty": before, "full": after, "plan": plan}
            rows += [_row(scheme, verb, before[verb], after[verb]) for verb in VERBS]
    result = Result(
        name="G",
        title=f"The store with {queued:,} queued and {ended:,} ended jobs",
        header=["", "empty, µs per job", "full, µs per job", "ratio"],
        rows=rows,
        notes=f"Batches of {BATCH} jobs, each one transaction.\n\n{_plans(data)}",
        data=data,
    )
    return [result]


@contextmanager
def _stores(urls: Sequence[str] | None) -> Iterator[Sequence[str]]:
    if urls:
        yield urls
        return
    from tests.postgres import Cluster

    with tempfile.TemporaryDirectory() as folder, Cluster(fsync="on") as cluster:
        yield [f"sqlite:///{folder}/jobs.db", cluster.new_database()]


def _measure(
    url: str, queued: int, ended: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], str]:
    store = open_store(url)
    store.open()
    store.join("bench", 24 * 3600.0)
    before = _time_batches(store)
    print(f"{store.url}: filling", file=sys.stderr)
    store.close()
    in_file = url.startswith("sqlite")
    (_fill_sqlite if in_file else _fill_postgres)(url, queued, ended)
    store.open()
    store.join("again", 24 * 3600.0)
    after = _time_batches(store, "again")
    plan = "" if in_file else _plan(url)
    store.close()
    return before, after, plan


def _time_batches(store: Store, worker: str = "bench") -> dict[str, list[float]]:
    """Return the microseconds per job of each verb, for each batch."""
    times: dict[str, list[float]] = {verb: [] for verb in VERBS}

    def timed(verb: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        times[verb].append((time.perf_counter() - began) / BATCH * 1e6)
        return result

    for _ in range(BATCHES):
        jobs = [NewJob(id=new_id(), task="bench:task") for _ in range(BATCH)]
        timed("add", lambda jobs=jobs: store.add(jobs))  # type: ignore[misc]
        claims = timed("claim", lambda: store.claim(worker, ["default"], BATCH))
        ends = [Settlement(claim, Completed()) for claim in claims]
        accepted = timed("settle", lambda ends=ends: store.settle(ends))  # type: ignore[misc]
        if len(accepted) != BATCH or not all(accepted):
            raise SystemExit(f"{BATCH} jobs were added, but {sum(accepted)} of them settled")
    return times


# ---------------------------------------------------------------------- a full store


def _filling(dialect: Mapping[str, str], queued: int, ended: int) -> Iterator[str]:
    """Yield statements that fill a store: a third of the queued jobs for each reason to wait."""
    third = queued // 3
    yield _queued(dialect, third, 1, queue="'other'")
    yield _queued(dialect, third, 2, priority="n % 5", run_at=_LATER)
    yield _queued(dialect, queued - 2 * third, 3, after=dialect["id"].format(kind=4095))
    yield f"""
        INSERT INTO {dialect["prefix"]}history (
            id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted,
            on_failure, created_at, finished_at
        )
        {dialect["with"].format(most=ended)}
        SELECT
            {dialect["id"].format(kind=4)}, 'bench:task', '{{}}', 'default', 0, 'completed',
            {_at(dialect, 1)}, 1, 0, 0, 'stop', {_at(dialect, 1)}, {_at(dialect, time.time())}
        FROM {dialect["series"].format(most=ended)}
    """


def _queued(
    dialect: Mapping[str, str],
    number: int,
    kind: int,
    *,
    queue: str = "'default'",
    priority: str = "0",
    run_at: float = 1.0,
    after: str = "NULL",
) -> str:
    return f"""
        INSERT INTO {dialect["prefix"]}jobs (
            id, task, arguments, queue, priority, state, run_at, attempt, after, on_failure,
            created_at
        )
        {dialect["with"].format(most=number)}
        SELECT
            {dialect["id"].format(kind=kind)}, 'bench:task', '{{}}', {queue}, {priority}, 'queued',
            {_at(dialect, run_at)}, 0, {after}, 'stop', {_at(dialect, 1)}
        FROM {dialect["series"].format(most=number)}
    """


def _at(dialect: Mapping[str, str], seconds: float) -> str:
    return dialect["at"].format(seconds=seconds)


def _fill_postgres(url: str, queued: int, ended: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _filling(_POSTGRES, queued, ended):
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _fill_sqlite(url: str, queued: int, ended: int) -> None:
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    for statement in _filling(_SQLITE, queued, ended):
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


# ---------------------------------------------------------------------- the table


def _plan(url: str) -> str:
    """Return the server's own plan of a claim."""
    from afterword.store.postgres.session import PLANS, sql

    values = {
        "worker": "again",
        "queues": ["default"],
        "limit": BATCH,
        "skip": [],
        "skip_keys": [],
        "fence": 1,
    }
    with psycopg.connect(url) as connection:
        for name, value in PLANS.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        rows = connection.execute(
            f"EXPLAIN (ANALYZE, COSTS off, TIMING off, BUFFERS off) {sql('claim')}", values
        ).fetchall()
        connection.rollback()
    return "\n".join(row[0] for row in rows)


def _plans(data: Mapping[str, Mapping[str, Any]]) -> str:
    texts = [each["plan"] for each in data.values() if each["plan"]]
    return "".join(f"A claim in PostgreSQL:\n\n```text\n{text}\n```" for text in texts)


def _row(scheme: str, verb: str, before: Sequence[float], after: Sequence[float]) -> list[str]:
    empty, full = median(before), median(after)
    return [f"{scheme}: {verb}", f"{empty:.1f}", f"{full:.1f}", f"{full / empty:.2f}"]
