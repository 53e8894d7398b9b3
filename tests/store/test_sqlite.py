"""Features of the SQLite store only: the file, its place, its locks, and many processes at once."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from afterword.errors import (
    ConfigurationError,
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from afterword.model.clock import Clock
from afterword.model.job import JobOptions, JobState, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, Statement
from afterword.store.sqlite import SQLiteStore, drivers, queries
from afterword.store.sqlite.path import check_path, file_system, path_of
from afterword.store.sqlite.writer import sql
from tests import warm
from tests.helpers import ROOT

FUTURE = 4_000_000_000.0
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path)
    store.open()
    yield store
    store.close()


def a_job() -> NewJob:
    return NewJob(id=new_id(), task="app:send")


def process(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "tests" / "store_process.py"), *map(str, arguments)]
    return warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pragma(store: SQLiteStore, name: str) -> object:
    return store._writer.connection.execute(f"PRAGMA {name}").fetchone()[0]


def fill(path: Path, jobs: int = 300) -> None:
    """Make a store of several pages, checkpointed and closed."""
    store = SQLiteStore(path)
    store.open()
    store.add([a_job() for _ in range(jobs)])
    store.close()


# ---------------------------------------------------------------------- the file


def test_the_files_are_for_their_owner_only(store: SQLiteStore, path: Path) -> None:
    store.join("ann", 30.0)
    store.add([a_job()])
    files = {
        file.name: stat.S_IMODE(file.stat().st_mode)
        for file in sorted(path.parent.rglob("*"))
        if file.is_file()
    }

    assert {"jobs.db", "jobs.db-wal", "jobs.db-shm", "ann.lock"} == set(files)
    assert {0o600} == set(files.values())
    assert 0o700 == stat.S_IMODE((path.parent / "jobs.db-workers").stat().st_mode)


def test_a_commit_survives_power_loss(store: SQLiteStore) -> None:
    assert "power-loss" == store.durability
    assert "wal" == pragma(store, "journal_mode")
    assert 2 == pragma(store, "synchronous")  # FULL


def test_the_sqlite_library_has_no_wal_reset_race() -> None:
    assert apsw.SQLITE_VERSION_NUMBER >= 3_051_003


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    fill(path, jobs=1)

    assert path.stat().st_size > 0


def test_a_newer_schema_is_refused_each_time(path: Path) -> None:
    fill(path, jobs=1)
    newer = "INSERT INTO afterword_migrations (version, oldest) VALUES (99, 98)"
    execute(path, newer)
    store = SQLiteStore(path)

    for _ in range(2):
        with pytest.raises(SchemaTooNew, match="schema 99"):
            store.open()
    with pytest.raises(StoreUnavailable):
        store.add([a_job()])


def execute(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


def test_a_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE users (name TEXT)")
    before = path.read_bytes()
    store = SQLiteStore(path)

    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="holds other tables"):
            store.open()
    assert before == path.read_bytes()


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    text = b"name,email\n" + b"ann,ann@example.com\n" * 100
    path.write_bytes(text)

    with pytest.raises(StoreCorrupt, match="not a SQLite database"):
        SQLiteStore(path).open()
    assert text == path.read_bytes()


def test_a_truncated_file_is_refused(path: Path) -> None:
    fill(path)
    path.write_bytes(path.read_bytes()[: 4096 * 5])

    with pytest.raises(StoreCorrupt, match=r"\.recover"):
        SQLiteStore(path).open()


def test_damage_inside_is_an_error_where_it_is_met(path: Path) -> None:
    fill(path)
    pages = path.read_bytes()
    path.write_bytes(pages[: 4096 * 40] + bytes(len(pages) - 4096 * 40))  # the schema is sound
    store = SQLiteStore(path)

    store.open()
    with pytest.raises(StoreCorrupt, match="damaged"):
        store.find(limit=1_000)
    store.close()


def test_a_store_that_was_killed_opens_without_repair(path: Path) -> None:
    holder = process("hold", path, 3600)
    assert holder.stdout is not None
    job_id = holder.stdout.readline().strip()
    kill(holder)
    store = SQLiteStore(path)
    store.open()

    assert [job_id] == [each.id for each in store.get([job_id])]
    assert "ok" == pragma(store, "integrity_check")
    store.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "1"),
        ("task", ""),
        ("arguments", "{'no': JSON}"),
        ("queue", ""),
        ("priority", "high"),
        ("state", "completed"),
        ("run_at", -1.0),
        ("run_at", 1e20),
        ("attempt", -1),
        ("attempt", 1.5),
        ("lost", -1),
        ("interrupted", -1),
        ("worker", "ann"),  # a queued job has none
        ("state", "running"),  # without a worker, without an attempt
        ("on_failure", "explode"),
        ("created_at", None),
    ],
)
def test_the_database_refuses_nonsense(store: SQLiteStore, column: str, value: object) -> None:
    job = a_job()
    store.add([job])
    before = store.get([job.id])

    with pytest.raises(apsw.ConstraintError):
        store._writer.connection.execute(f"UPDATE afterword_jobs SET {column} = ?", (value,))
    assert before == store.get([job.id])


def test_the_database_refuses_a_job_that_waits_for_itself(store: SQLiteStore) -> None:
    store.add([a_job()])

    with pytest.raises(apsw.ConstraintError):
        store._writer.connection.execute("UPDATE afterword_jobs SET after = id")


@pytest.mark.parametrize("state", ["queued", "running", "failed", "nonsense"])
def test_the_history_refuses_nonsense(store: SQLiteStore, state: str) -> None:
    """It refuses unfinished states, and a failure without an error."""
    job = a_job()
    store.add([job])
    store.join("ann", 60)
    claims = store.claim("ann", ["default"], 1)
    store.settle([Settlement(each, Completed()) for each in claims])

    with pytest.raises(apsw.ConstraintError):
        store._writer.connection.execute("UPDATE afterword_history SET state = ?", (state,))


def test_errors_of_the_driver_become_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "BUSY_TIMEOUT", 0.01)
    store, other = SQLiteStore(path), SQLiteStore(path)
    store.open()
    other.open()
    with other.transaction(), pytest.raises(StoreUnavailable, match="locked"):
        store.add([a_job()])
    other.close()

    with pytest.raises(StoreError, match="refused"):
        store.add([NewJob(id="short", task="app:send")])
    store.close()


# ---------------------------------------------------------------------- its place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/lib/app/jobs.db", "/var/lib/app/jobs.db"),
        ("sqlite:////var/lib/../jobs.db", "/var/jobs.db"),
        ("sqlite:////var/ö 雪/jobs.db", "/var/ö 雪/jobs.db"),
    ],
)
def test_a_url_names_a_file(url: str, expected: str) -> None:
    assert expected == path_of(url).as_posix()


def test_a_relative_url_is_found_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert tmp_path.resolve() / "jobs.db" == path_of("sqlite:///jobs.db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://:memory:", "in memory"),
        ("sqlite://jobs.db", "without host"),
        ("sqlite://host/jobs.db", "without host"),
        ("sqlite:///jobs.db?mode=ro", "options"),
        ("sqlite:///file:jobs.db", "file:"),
        ("sqlite:///file:jobs.db?mode=memory", "file:"),
        ("redis://localhost", "starts with sqlite"),
        ("jobs.db", "starts with sqlite"),
        ("", "starts with sqlite"),
    ],
)
def test_a_url_that_is_no_file_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_store(url)


def test_a_symbolic_link_leads_to_the_same_store(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "jobs.db")
    store = open_store(f"sqlite:///{tmp_path}/link.db")
    store.open()
    store.join("ann", 30.0)
    store.close()

    assert (tmp_path / "real" / "jobs.db-workers").is_dir()
    assert [tmp_path / "link.db"] == list(tmp_path.glob("link.db*"))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        SQLiteStore(tmp_path).open()


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Create it first"):
        SQLiteStore(tmp_path / "missing" / "jobs.db").open()


def test_a_directory_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with not_as_root(), pytest.raises(ConfigurationError, match="right to write"):
        check_path(tmp_path / "jobs.db")
    tmp_path.chmod(0o700)


def test_a_file_without_the_right_to_write_is_refused(path: Path) -> None:
    path.touch(mode=0o400)
    with not_as_root(), pytest.raises(ConfigurationError, match="right to write"):
        check_path(path)


@contextmanager
def not_as_root() -> Iterator[None]:
    """Run as another user, because root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.setreuid(NOBODY, -1)
    try:
        yield
    finally:
        os.setreuid(0, -1)


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:44 / /mnt/team\\040share rw,relatime shared:1 - nfs4 server:/team rw
31 22 0:45 / /mnt/team\\040share/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:46 / /host rw,relatime - virtiofs host rw
33 22 0:47 / /hosts rw,relatime - btrfs /dev/sdc1 rw
34 22 0:48 / /over rw - ext4 /dev/sdd1 rw
35 34 0:49 / /over rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/var/lib", "ext4"),
        ("/mnt/team share", "nfs4"),
        ("/mnt/team share/deep/down", "nfs4"),
        ("/mnt/team share/local", "xfs"),
        ("/host", "virtiofs"),
        ("/hosts", "btrfs"),
        ("/over", "cifs"),  # mounted over another file system
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(place: str, expected: str) -> None:
    assert expected == file_system(Path(place) / "jobs.db", MOUNTS)


def test_without_a_list_of_mounts_nothing_is_known() -> None:
    assert file_system(Path("/jobs.db"), "") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph"])
def test_a_network_file_system_is_refused(path: Path, kind: str) -> None:
    mounts = f"22 1 8:1 / {path.parent} rw - {kind} server:/share rw\n"

    with pytest.raises(ConfigurationError, match=f"is on {kind}"):
        check_path(path, mounts)


def test_a_local_file_system_is_taken(path: Path) -> None:
    check_path(path, "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")

    assert not path.exists()


def test_text_that_is_no_text_is_damage(store: SQLiteStore) -> None:
    store.add([a_job()])
    store._writer.connection.execute("UPDATE afterword_jobs SET task = CAST(x'ff' AS TEXT)")

    with pytest.raises(StoreCorrupt, match="is damaged"):
        store.find()


# ---------------------------------------------------------------------- many processes


def test_four_processes_on_one_file_lose_nothing(path: Path) -> None:
    workers = [process("work", f"sqlite:///{path}", 2.0) for _ in range(4)]
    answers = [worker.communicate(timeout=60) for worker in workers]
    assert [0] * 4 == [worker.returncode for worker in workers], answers

    reports = [json.loads(out) for out, _ in answers]
    added = [each for report in reports for each in report["added"]]
    completed = [each for report in reports for each in report["completed"]]
    store = SQLiteStore(path)
    store.open()
    counts = store.count()
    store.close()
    assert len(set(completed)) == len(completed) == counts[JobState.COMPLETED]
    assert len(set(added)) == len(added) == counts[JobState.COMPLETED] + counts[JobState.QUEUED]
    assert all(report["completed"] for report in reports)


def test_of_two_processes_that_do_the_same_to_a_job_one_did_it(
    store: SQLiteStore, path: Path
) -> None:
    store.add([a_job() for _ in range(100)])
    begin = time.time() + 1.0
    people = [process("act", path, begin) for _ in range(2)]
    answers = [json.loads(person.communicate(timeout=60)[0]) for person in people]

    for verb in ("cancel", "retry", "delete"):
        assert [1] * 100 == [
            sum(both) for both in zip(*(each[verb] for each in answers), strict=True)
        ], verb
    assert 0 == sum(store.count().values())


def test_processes_that_open_a_new_file_at_once_take_turns(tmp_path: Path) -> None:
    begin = time.time() + 1.0
    workers = [process("open", tmp_path, begin) for _ in range(4)]
    answers = [worker.communicate(timeout=60) for worker in workers]
    assert [0] * 4 == [worker.returncode for worker in workers], answers

    for number in range(10):
        store = SQLiteStore(tmp_path / f"{number}.db")
        store.open()
        assert 4 == store.count()[JobState.QUEUED]
        store.close()


def test_work_of_another_process_is_noticed(store: SQLiteStore, path: Path) -> None:
    other = SQLiteStore(path)
    other.open()
    store.changed()
    before = store.changed()
    other.add([a_job()])

    assert not before
    assert store.changed()
    assert not store.changed()
    other.close()


def test_starts_that_count_no_more_are_purged(store: SQLiteStore) -> None:
    store.join("ann", 60)
    for period in (0.01, 60.0):
        options = JobOptions(rate=(1, period)).text()
        store.add([replace(a_job(), limit_key=f"{period}", options=options)])
    store.claim("ann", ["default"], 10)
    time.sleep(0.05)

    store.purge(60.0, 100)

    assert [("60.0",)] == store._reader.read_text("SELECT key FROM afterword_rates", {})


# ---------------------------------------------------------------------- in the user's transaction


def executed(store: SQLiteStore, statements: Sequence[Statement]) -> None:
    """Execute statements on the user's own connection."""
    connection = apsw.Connection(str(store.path))
    with connection:
        for statement in statements:
            connection.execute(statement.sql, dict(statement.values))
    connection.close()


def test_jobs_of_the_users_transaction_have_keys(store: SQLiteStore) -> None:
    """A follower of a call that was not added follows the existing job."""
    first, again = (NewJob(id=new_id(), task="app:send", unique_key="k") for _ in range(2))
    store.add([first])
    follower = NewJob(id=new_id(), task="app:send", after=again.id, tags=("a",))

    executed(store, store.adding([again, follower]))

    (found,) = store.get([again.id, follower.id])
    assert (follower.id, first.id, ("a",)) == (found.id, found.after, found.tags)


def test_children_are_added_where_their_parent_is_completed(store: SQLiteStore) -> None:
    parent, child = (NewJob(id=new_id(), task="app:send", unique_key="k") for _ in range(2))
    store.join("ann", 60)
    store.add([parent])
    (claim,) = store.claim("ann", ["default"], 1)

    executed(store, store.completing(Settlement(claim, Completed(), [child])))

    assert [child.id] == [each.id for each in store.claim("ann", ["default"], 10)]


# ---------------------------------------------------------------------- locks


def test_a_killed_process_is_noticed_at_once(store: SQLiteStore, path: Path) -> None:
    holder = process("hold", path, 3600)
    assert holder.stdout is not None
    job_id = holder.stdout.readline().strip()
    while_alive = store.recover(10, lease=3600)
    kill(holder)

    assert [] == while_alive
    assert [job_id] == [each.id for each in store.recover(10, lease=3600)]
    assert [] == list((path.parent / "jobs.db-workers").iterdir())


def test_a_process_that_hangs_is_noticed_by_its_lease(store: SQLiteStore, path: Path) -> None:
    holder = process("hold", path, 0.3)
    assert holder.stdout is not None
    job_id = holder.stdout.readline().strip()
    taken: list[str] = []
    while not taken and holder.poll() is None:
        taken += [each.id for each in store.recover(10, lease=3600)]
    alive = holder.poll() is None
    kill(holder)

    assert alive
    assert [job_id] == taken


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_store_that_is_closed_without_leaving_is_dead(store: SQLiteStore, path: Path) -> None:
    other, job = SQLiteStore(path), NewJob(id=new_id(), task="app:send", held=True)
    other.open()
    other.join("ann", 3600.0)
    other.add([job], held_by="ann")
    before = store.recover(10, lease=3600)
    other.close()

    assert [] == before
    assert [job.id] == [each.id for each in store.recover(10, lease=3600)]


def test_a_worker_without_a_lock_has_its_lease(store: SQLiteStore, path: Path) -> None:
    """It may run on a system without such locks."""
    store.join("ann", 3600.0)
    store.add([NewJob(id=new_id(), task="app:send", held=True)], held_by="ann")
    store.close()
    (path.parent / "jobs.db-workers" / "ann.lock").unlink()
    store.open()

    assert [] == store.recover(10, lease=3600)


def test_leaving_removes_the_lock(store: SQLiteStore, path: Path) -> None:
    store.join("ann", 3600.0)
    store.leave("ann")

    assert [] == list((path.parent / "jobs.db-workers").iterdir())


# ---------------------------------------------------------------------- what a step costs


def test_the_stores_thread_does_not_wait_for_what_people_read(store: SQLiteStore) -> None:
    """While a person counts millions of rows, leases, claims and cancelling go on."""
    store.join("ann", 60.0)
    job = a_job()
    store.add([job])

    def work() -> list[Sequence[object]]:
        store.rules("ann")
        found = [store.recover(10, 60.0), store.cancelling("ann")]
        return [*found, store.claim("ann", ["default"], 1)]

    with ThreadPoolExecutor(1) as pool, store._reader._lock:  # as long as a read takes
        *others, claims = pool.submit(work).result(timeout=30)

    assert [[], []] == others
    assert 1 == len(claims)


def test_claim_reads_the_index_of_ready_jobs_only(store: SQLiteStore) -> None:
    due, waiting = a_job(), NewJob(id=new_id(), task="app:send", run_at=FUTURE)
    store.add([due, waiting])
    copy_job(store, waiting, 100_000)
    store.join("ann", 60)
    values = {
        "queue": "default",
        "priority": 0,
        "now": time.time(),
        "skip": "[]",
        "limit": 10,
        "worker": "ann",
        "fence": 1,
        "careful": time.time(),
    }
    plan = plan_of(store, sql("claim"), values)
    claims = store.claim("ann", ["default"], 10)

    assert [due.id] == [each.id for each in claims]
    assert "INDEX afterword_jobs_ready (queue=? AND priority=? AND run_at<?)" in plan
    assert "SCAN afterword_jobs" not in plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan


def copy_job(store: SQLiteStore, job: NewJob, times: int) -> None:
    """Copy a job many times, which is faster than adding each."""
    connection = store._writer.connection
    columns = [
        str(row[1]) for row in connection.execute("PRAGMA table_info(afterword_jobs)").fetchall()
    ]
    others = ", ".join(column for column in columns if column != "id")
    connection.execute(
        f"""
        WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < ?)
        INSERT INTO afterword_jobs (id, {others})
        SELECT printf('%036d', n), {others} FROM copies, afterword_jobs WHERE id = ?
        """,
        (times, job.id),
    )


def plan_of(store: SQLiteStore, statement: str, values: Mapping[str, object]) -> str:
    rows = store._writer.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return "\n".join(str(row[3]) for row in rows)


def test_failures_are_read_from_an_index(store: SQLiteStore) -> None:
    wanted = Filter(task="app:send", above="0")
    statement = queries._statement("failures_ended", wanted, queries._stated(JobState.FAILED))
    values = {**queries._values(wanted), "before": "~", "limit": 10, "tail": 100}
    plan = plan_of(store, statement, values)

    assert "SEARCH afterword_history USING INDEX" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "PRIMARY KEY"),
        (Filter(state=JobState.FAILED), "INDEX afterword_history_not_completed"),
        (Filter(state=JobState.CANCELLED), "INDEX afterword_history_not_completed"),
        (Filter(task="app:send"), "INDEX afterword_history_task"),
        (Filter(request_id="r-1"), "INDEX afterword_history_request"),
        (Filter(error="no", above="0"), "PRIMARY KEY (id>? AND id<?)"),
        (
            Filter(error="no", above="0", state=JobState.FAILED),
            "INDEX afterword_history_not_completed (state=? AND id>? AND id<?)",
        ),
        (Filter(tag="a", since=1.0, until=9.0), "PRIMARY KEY (id>? AND id<?)"),
    ],
    ids=str,
)
def test_a_page_of_a_long_history_is_read_from_an_index(
    store: SQLiteStore, wanted: Filter, index: str
) -> None:
    statement = queries._parts("find", wanted, wanted.state)[-1]
    plan = plan_of(store, statement, {**queries._values(wanted), "before": "~", "limit": 10})

    assert f"SEARCH afterword_history USING {index}" in plan
    assert "TEMP B-TREE" not in plan


def test_nothing_to_do_writes_nothing(store: SQLiteStore, path: Path) -> None:
    store.join("ann", 3600.0)
    store.add([NewJob(id=new_id(), task="app:send", run_at=FUTURE)])
    other = SQLiteStore(path)
    other.open()
    other.changed()
    size = (path.parent / "jobs.db-wal").stat().st_size
    for _ in range(10):
        store.recover(10, lease=30)
        store.claim("ann", ["default", "empty"], 10)
        store.purge(60.0, 10)
        store.renew("stranger", 30)

    assert size == (path.parent / "jobs.db-wal").stat().st_size
    assert not other.changed()
    other.close()


def test_finding_nothing_to_recover_takes_no_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "BUSY_TIMEOUT", 0.01)
    store, other = SQLiteStore(path), SQLiteStore(path)
    store.open()
    other.open()
    with other.transaction():
        recovered = store.recover(10, lease=30)

    assert [] == recovered
    store.close()
    other.close()


class Fast(Clock):
    """A clock that is an hour ahead."""

    def now(self) -> float:
        return super().now() + 3600


def test_a_clock_that_is_ahead_takes_nothing_from_the_living(path: Path) -> None:
    store, ahead = SQLiteStore(path), SQLiteStore(path, clock=Fast())
    store.open()
    ahead.open()
    store.join("ann", lease=30)
    store.add([NewJob(id=new_id(), task="app:send")])
    store.claim("ann", ["default"], 1)

    assert [] == list(ahead.recover(10, lease=30))
    assert store.renew("ann", lease=30)
    assert [] == list(ahead.recover(10, lease=30))
    store.close()
    ahead.close()
