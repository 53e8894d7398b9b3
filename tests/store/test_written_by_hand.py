"""Invalid rows written by hand: they name no file, and stop no loop over the others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from afterword import Afterword, JobState, telemetry
from afterword.client.group_commit import GroupCommit
from afterword.errors import ConfigurationError, StoreCorrupt
from afterword.injection.needs import Injection
from afterword.model.job import JobOptions, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.schedules.recurrence import as_rule
from afterword.schedules.scheduler import Planned, Scheduler
from afterword.store.locks import Locks, shared_directory
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, Store

LONG = 3600.0
Write = Callable[..., None]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store of each kind."""
    store = open_store(store_url)
    store.open()
    yield store
    store.close()


@pytest.fixture
def write(store_url: str, request: pytest.FixtureRequest) -> Write:
    """Execute a statement about the tables, in SQLite's dialect, with `?` for values."""

    def write(statement: str, *values: Any) -> None:
        if store_url.startswith("sqlite"):
            connection = apsw.Connection(store_url.removeprefix("sqlite:///"))
            connection.execute(statement, values)
            connection.close()
            return
        import psycopg

        statement = statement.replace("afterword_", "afterword.").replace("?", "%s")
        with psycopg.connect(store_url, autocommit=True) as server:
            server.execute(statement.encode(), values)

    return write


def a_job(**said: Any) -> NewJob:
    return NewJob(id=new_id(), task="app:send", **said)


def lost_job(store: Store) -> NewJob:
    """Add a job whose worker is gone."""
    job = a_job()
    store.join("ann", LONG)
    store.add([job])
    (claim,) = store.claim("ann", ["default"], 1)
    assert job.id == claim.id
    store.leave("ann")
    return job


def add_worker(store: Store, write: Write, worker: str) -> None:
    """Add a worker that has not renewed its lease for a long time."""
    store.join("model", LONG)
    columns = "host, pid, queues, concurrency, joined_at"
    ended = "0, 0" if "sqlite" in store.url else "0, now() - interval '1 hour'"
    write(
        f"INSERT INTO afterword_workers (id, {columns}, lease, expires_at)"
        f" SELECT ?, {columns}, {ended} FROM afterword_workers WHERE id = 'model'",
        worker,
    )
    store.leave("model")


@pytest.mark.parametrize(
    "worker",
    ["../project/uv", "{folder}/project/uv", "x" * 300, "x\ny", "..", "", "x/y", "ä"],
)
def test_an_id_from_the_store_names_no_file(
    worker: str, store: Store, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "uv.lock").write_text("precious")
    job = lost_job(store)
    add_worker(store, write, worker.format(folder=tmp_path))

    recovered = [each.id for each in store.recover(100, LONG)]

    assert [job.id] == recovered
    assert [] == store.workers()
    assert "precious" == (tmp_path / "project" / "uv.lock").read_text()


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_an_id_with_a_nul_names_no_file(store: Store, write: Write) -> None:
    job = lost_job(store)
    add_worker(store, write, "a\0b")

    assert [job.id] == [each.id for each in store.recover(100, LONG)]


def test_a_worker_that_cannot_have_a_lock_is_refused(store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"made of 1 to 64 .* '\.\./x'"):
        store.join("../x", LONG)

    assert [] == store.workers()


@pytest.mark.parametrize("identity", ["../x", "", "/tmp", "x" * 65])
def test_the_identity_of_a_store_names_no_other_directory(identity: str) -> None:
    with pytest.raises(StoreCorrupt, match="identity of a store"):
        shared_directory(identity)


def _directory(file: Path) -> None:
    file.mkdir()


def _link(file: Path) -> None:
    file.symlink_to("/dev/null")


def _others(file: Path) -> None:
    file.write_text("")
    file.chmod(0)


@pytest.mark.parametrize("make", [_directory, _link, _others, os.mkfifo])
def test_a_lock_that_is_none_leaves_it_to_the_lease(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    locks = Locks(tmp_path)
    make(tmp_path / "odd.lock")
    locks.hold("gone")
    locks.drop_all()
    if make in (_directory, _link) or (make is _others and os.getuid() != 0):
        assert not locks.is_dead("odd")
    locks.drop("odd")

    assert locks.is_dead("gone")


# ---------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("options", '{"limit":"x"}'),
        ("options", '{"rate":[1e999,1]}'),
        ("options", '{"rate":{"a":1},"limit":-1}'),
        ("options", "[[[]]]"),
        ("options", '"limit"'),
        ("options", "5"),
        ("tags", "5"),
        ("tags", '{"a":1}'),
        ("tags", "[5, null]"),
        ("progress", '"x"'),
        ("progress", "[]"),
        ("request_id", "../x"),
    ],
)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_odd_values_keep_no_other_job_from_being_claimed(
    column: str, value: str, store: Store, write: Write
) -> None:
    odd, sound = a_job(limit_key="key", options=JobOptions(limit=5).text()), a_job()
    store.add([odd, sound])
    write(f"UPDATE afterword_jobs SET {column} = ? WHERE id = ?", value, odd.id)
    store.join("ann", LONG)

    claims = {each.id: each for each in store.claim("ann", ["default"], 10)}

    assert sound.id in claims
    assert [True] == list(store.settle([Settlement(claims[sound.id], Completed())]))
    assert {odd.id, sound.id} == {each.id for each in store.find()}
    assert 1 == len(store.workers())


@pytest.mark.parametrize("starts", ["5", '["x"]', "[null]", "{}", "[1e999]"])
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_odd_starts_of_a_rate_are_forgotten(starts: str, store: Store, write: Write) -> None:
    options = JobOptions(rate=(5, 60.0)).text()
    store.add([a_job(limit_key="key", options=options), a_job()])
    write("INSERT INTO afterword_rates (key, starts, expires_at) VALUES ('key', ?, 1e12)", starts)
    store.join("ann", LONG)

    assert 2 == len(store.claim("ann", ["default"], 10))


@pytest.mark.parametrize("queues", ["5", "null", '{"a":1}', "[1]"])
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_odd_queues_of_a_worker_hide_no_worker(queues: str, store: Store, write: Write) -> None:
    store.join("ann", LONG, ["mail"])
    store.join("bob", LONG, ["mail"])
    write("UPDATE afterword_workers SET queues = ? WHERE id = 'ann'", queues)

    assert [("ann", False), ("bob", True)] == [
        (each.id, "mail" in each.queues) for each in store.workers()
    ]


# ---------------------------------------------------------------------- recovery and schedules


def test_a_lost_job_that_cannot_be_moved_keeps_no_other_one(
    store: Store, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Its id is in the history already, so it cannot end again."""
    odd = a_job()
    store.join("ann", LONG)
    store.add([odd])
    (claim,) = store.claim("ann", ["default"], 1)
    (known,) = store.get([odd.id])
    store.settle([Settlement(claim, Completed())])
    columns = "id, task, arguments, queue, priority, run_at, on_failure, created_at"
    write(
        f"INSERT INTO afterword_jobs ({columns}, attempt, lost, state, worker)"
        f" SELECT {columns}, 1, 2, 'running', 'gone' FROM afterword_history WHERE id = ?",
        odd.id,
    )
    store.leave("ann")
    before, after = lost_job(store), lost_job(store)

    recovered = [each.id for each in store.recover(100, LONG)]

    assert sorted([before.id, after.id]) == sorted(recovered)
    assert f"not_recovered job={odd.id}" in caplog.text
    assert JobState.RUNNING is known.state


def sweep() -> None: ...


def dust() -> None: ...


def test_a_schedule_that_cannot_make_its_jobs_keeps_no_other_one(
    store: Store, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    planned = [
        Planned(
            func=func,
            args=(),
            kwargs={},
            rule=as_rule("* * * * *"),
            name=func.__name__,
            missed="one",
            limit=100,
            grace=60.0,
            injection=Injection(),
        )
        for func in (dust, sweep)
    ]
    scheduler = Scheduler(GroupCommit(store), planned)
    scheduler._declare(store)
    scheduler._models["dust"] = a_job(tags=("\0",), run_at=-1.0)  # no store accepts it
    past = "1000000000" if "sqlite" in store.url else "to_timestamp(1000000000)"
    write(f"UPDATE afterword_cursors SET next_at = {past}")
    scheduler._tick(store)

    assert {f"{__name__}:sweep"} == {job.task for job in store.find()}
    assert "schedule_failed schedule=dust" in caplog.text


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("next_at", [-1e300, -5.0, 0.0])
def test_a_schedule_whose_next_time_cannot_be_goes_on(
    next_at: float, store: Store, write: Write
) -> None:
    afterword = Afterword(url=store.url)
    afterword.every("0 * * * *", name="sweep")(sweep)
    scheduler = Scheduler(GroupCommit(store), afterword.runtime.planned)
    scheduler._declare(store)
    write("UPDATE afterword_cursors SET next_at = ?", next_at)
    scheduler._tick(store)

    assert {f"{__name__}:sweep"} == {job.task for job in store.find()}
    assert store.now() < store.schedules()[0].next_at.timestamp()


@pytest.fixture(autouse=True)
def _say_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow warnings that are given once to be given again."""
    monkeypatch.setattr(telemetry, "_warned", set())
