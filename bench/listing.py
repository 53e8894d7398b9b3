"""V: the time of people's queries while a million jobs wait and ten million have ended.

Each store verb that a dashboard uses, and each of its screens, is called several times; the aim is
50 ms. The store is filled as in `bench.growth`, with one failure in sixteen and a week of counters.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median

import apsw
import psycopg
from starlette.testclient import TestClient

from afterword.admin.found import find
from afterword.admin.search import Search
from afterword.admin.tasks import look
from afterword.dashboard import Source, dashboard
from afterword.dashboard.routes import menu
from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.counters import HOUR, MINUTE, TEN_MINUTES
from afterword.model.job import JobState, NewJob
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.protocol import Added, Store
from bench.growth import _POSTGRES, _SQLITE, _fill_postgres, _fill_sqlite, _stores
from bench.options import Options
from bench.result import Result

ROUNDS = 5
AIM = 50.0  # milliseconds
_DAY = 24 * HOUR
_CAP = 10_001  # jobs that are counted in each state
_TASKS = 10
_KEPT = {MINUTE: 2 * HOUR, TEN_MINUTES: _DAY, HOUR: 7 * _DAY}  # seconds of their charts

_MIDDLE = "01900000-0008-7000-8004-000000080000"  # an id of the history

_PATHS = (
    "/",
    "/?range=6h",
    "/?range=24h",
    "/?range=7d",
    "/jobs",
    "/jobs?q=state:failed",
    "/jobs?q=tag:x",
    f"/jobs?before={_MIDDLE}",
    f"/jobs/{_MIDDLE}",
    *(route.path for route in menu() if route.name not in ("overview", "jobs")),
)

Question = Callable[[], object]


def measure(options: Options) -> list[Result]:
    """Fill each store, and time the queries."""
    data: dict[str, Mapping[str, list[float]]] = {}
    with _stores(options.urls) as urls:
        for url in urls:
            data[url.partition(":")[0]] = _measure(url, options.queued, options.ended)
    names = list(next(iter(data.values())))
    rows = [[name, *(f"{median(times[name]):.1f}" for times in data.values())] for name in names]
    result = Result(
        name="V",
        title=f"Questions of people to {options.queued:,} queued and {options.ended:,} ended jobs",
        header=["", *(f"{scheme}, ms" for scheme in data)],
        rows=rows,
        notes=f"The aim is {AIM:.0f} ms for each. One job in sixteen has failed.",
        data=data,
    )
    return [result]


def _measure(url: str, queued: int, ended: int) -> dict[str, list[float]]:
    store = open_store(url)
    store.open()
    print(f"{store.url}: filling", file=sys.stderr)
    store.close()
    _fill(url, queued, ended)
    store.open()
    times = {name: [_milliseconds(ask) for _ in range(ROUNDS)] for name, ask in _questions(store)}
    store.close()
    return times


def _milliseconds(ask: Question) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _questions(store: Store) -> Iterator[tuple[str, Question]]:
    """Yield the queries of a dashboard, with their names."""
    now = store.now()
    failed = Filter(state=JobState.FAILED)
    yield "a page of jobs", lambda: store.find(limit=50)
    yield "a page of failed jobs", lambda: store.find(failed, 50)
    yield "a page in the middle", lambda: store.find(limit=50, before=_MIDDLE)
    yield "counts of all states", lambda: store.count(limit=_CAP)
    yield "a search that finds nothing", lambda: _search(store, Filter(tag="x"))
    nothing = Filter(state=JobState.FAILED, error="nothing")
    yield "a search of failures that finds nothing", lambda: _search(store, nothing)
    yield "groups of failures", store.failures
    yield "tasks in 24 hours", lambda: look(store, now - _DAY, now, limit=_CAP)
    yield "a chart of an hour", lambda: store.counters(now - HOUR, MINUTE)
    yield "a chart of 6 hours", lambda: store.counters(now - 6 * HOUR, TEN_MINUTES)
    yield "a chart of 24 hours", lambda: store.counters(now - _DAY, TEN_MINUTES)
    yield "a chart of 7 days", lambda: store.counters(now - 7 * _DAY, HOUR)
    yield "queues", lambda: store.queues(_CAP)
    yield "workers", store.workers
    yield "schedules", store.schedules
    yield "audit", store.audit
    yield from _screens(store)


def _screens(store: Store) -> Iterator[tuple[str, Question]]:
    """Yield the screens of the dashboard, each timed from request to response."""
    source = Source(store=lambda: store, add=_add_nothing, clock=Clock())
    client = TestClient(dashboard(source, authorize=lambda request: "operate"))
    for path in _PATHS:
        yield f"screen {path}", functools.partial(_screen, client, path)


def _screen(client: TestClient, path: str) -> None:
    answer = client.get(path)
    if answer.status_code >= 500:
        raise SystemExit(f"{path}: {answer.status_code}\n{answer.text}")


def _add_nothing(_job: NewJob, _by: Actor) -> Added:
    raise NotImplementedError


def _search(store: Store, wanted: Filter) -> object:
    return find(store, Search(filter=wanted), 50)


# ---------------------------------------------------------------------- a full store


def _fill(url: str, queued: int, ended: int) -> None:
    in_file = url.startswith("sqlite")
    (_fill_sqlite if in_file else _fill_postgres)(url, queued, ended)
    dialect = _SQLITE if in_file else _POSTGRES
    if in_file:
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        for statement in _more(dialect, time.time()):
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as server:
        for statement in _more(dialect, time.time()):
            server.execute(statement.encode())
        server.execute("VACUUM ANALYZE")


def _more(dialect: Mapping[str, str], now: float) -> Iterator[str]:
    """Yield statements that make jobs fail, and that add counters up to now."""
    prefix = dialect["prefix"]
    yield f"""
        UPDATE {prefix}history SET state = 'failed', error = 'Traceback (most recent call last):
  File "app.py", line 1, in task
    call()
ValueError: order ' || CAST(id AS text) || ' is refused'
        WHERE CAST(id AS text) LIKE '%0'
    """
    end = int(now // HOUR + 1) * HOUR
    yield f"INSERT INTO {prefix}counted (place, until) VALUES (1, {end})"
    for seconds, kept in _KEPT.items():
        yield _counters(dialect, seconds, end - kept, kept // seconds)


def _counters(dialect: Mapping[str, str], seconds: int, start: int, periods: int) -> str:
    histogram = "[3,10,4,20,5,40,6,20,7,10]"
    states = "SELECT 'completed' AS state UNION ALL SELECT 'failed'"
    tasks = f"SELECT n AS task FROM {dialect['series'].format(most=_TASKS)}"
    most = max(periods, _TASKS)
    return f"""
        INSERT INTO {dialect["prefix"]}counters
            (seconds, starts_at, task, queue, state, jobs, waited, ran)
        {dialect["with"].format(most=most)}
        SELECT
            {seconds}, {start} + (period.n - 1) * {seconds}, 'bench:task' || task, 'default', state,
            100, '{histogram}', '{histogram}'
        FROM (SELECT n FROM {dialect["series"].format(most=periods)} WHERE n <= {periods}) AS period
        CROSS JOIN ({tasks} WHERE n <= {_TASKS}) AS of_task
        CROSS JOIN ({states}) AS of_state
    """
