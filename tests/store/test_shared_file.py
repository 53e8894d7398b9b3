"""The store in the application's own SQLite file: one library for both (`sqlite+pysqlite://`)."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from afterword import telemetry
from afterword.admin.checkup import of_store
from afterword.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, RetryAt
from afterword.store.opening import open_store
from afterword.store.protocol import STOPPED, Claim, Putback, Settlement, Statement
from afterword.store.sqlite import SQLiteStore, drivers
from afterword.store.sqlite.drivers import Apsw, Pysqlite, has_wal_reset_race

SOUND, RACY = (3, 51, 3), (3, 40, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An application's database."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
    return path


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore.from_url(f"sqlite+pysqlite:///{path}")
    store.open()
    yield store
    store.close()


@pytest.fixture(autouse=True)
def _warn_anew() -> Iterator[None]:
    telemetry._warned.clear()
    yield
    telemetry._warned.clear()


def a_job(**fields: Any) -> NewJob:
    return NewJob(id=new_id(), task="app:send", **fields)


def of_version(version: tuple[int, int, int]) -> Pysqlite:
    """Make this Python's sqlite3 report another version."""
    driver = Pysqlite()
    driver.version = version
    return driver


def pragma(path: Path, name: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


# ---------------------------------------------------------------------- one file for both


def test_the_url_says_which_library_opens_the_file(path: Path) -> None:
    url = f"sqlite+pysqlite:///{path}"

    assert url == open_store(url).url


def test_the_applications_tables_stay_as_they_are(store: SQLiteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        tables = (
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'afterword_%'"
        )

        assert [("users",)] == connection.execute(tables).fetchall()
    assert 0 == pragma(path, "application_id")
    assert 0 == pragma(path, "user_version")


def test_a_store_in_the_applications_file_is_not_for_apsw(store: SQLiteStore, path: Path) -> None:
    store.close()

    with pytest.raises(StoreCorrupt, match=rf"sqlite\+pysqlite:///{path}"):
        SQLiteStore(path).open()


def test_apsw_does_not_open_it_before_the_application_has_tables_either(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = SQLiteStore(path, driver=Pysqlite())
    store.open()
    store.close()

    with pytest.raises(StoreCorrupt, match="shared with an application"):
        SQLiteStore(path).open()


def test_one_library_opens_the_file(store: SQLiteStore, path: Path) -> None:
    """A transaction's locks hold although the store is opened and closed meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        other = SQLiteStore.from_url(f"sqlite+pysqlite:///{path}")
        other.open(create=False)
        other.close()

        assert locked_for_others(path)


def locked_for_others(path: Path) -> bool:
    """Return True if another process cannot write."""
    code = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)"
        ".execute('BEGIN IMMEDIATE')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    return b"database is locked" in done.stderr


def test_a_python_with_an_old_library_is_told_so(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"SQLite 3\.38\.0 or newer.*has 3\.34\.1"):
        SQLiteStore(path, driver=of_version((3, 34, 1))).open()


# ---------------------------------------------------------------------- the WAL-reset race


@pytest.mark.parametrize(
    ("version", "racy"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 9), False),
        ((3, 46, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_which_releases_have_the_race(version: tuple[int, int, int], racy: bool) -> None:
    assert racy == has_wal_reset_race(version)


def test_the_store_of_its_own_brings_a_sound_release() -> None:
    assert not has_wal_reset_race(Apsw().version)


def test_a_sound_release_uses_wal(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SQLiteStore(path, driver=of_version(SOUND))
    store.open()

    assert "wal" == pragma(path, "journal_mode")
    assert "" == caplog.text
    store.close()


def test_an_old_release_keeps_a_rollback_journal_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stores = [SQLiteStore(path, driver=of_version(RACY)) for _ in range(2)]
    for store in stores:
        store.open()
        store.add([a_job()])
    durable = stores[0]._writer.connection.execute("PRAGMA synchronous").fetchone()[0]
    for store in stores:
        store.close()

    assert "delete" == pragma(path, "journal_mode")
    assert 3 == durable  # EXTRA: the end of the journal is synced, too
    assert 1 == caplog.text.count("old_sqlite version=3.40.1")


def test_the_rollback_journal_of_an_old_release_is_a_note_and_no_problem(path: Path) -> None:
    store = SQLiteStore(path, driver=of_version(RACY))
    store.open()
    found = {each.name: each for each in of_store(store)}["sqlite"]
    store.close()

    assert "note" == found.level
    assert "journal delete" in found.found
    assert "It is safe" in found.fix


def test_a_command_does_not_repeat_what_the_application_has_logged(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_warned", set())
    store = SQLiteStore(path, driver=of_version(RACY))
    for create in (True, False):
        telemetry._warned.clear()
        caplog.clear()
        store.open(create=create)
        store.close()

    assert "old_sqlite" not in caplog.text


def test_an_old_release_takes_a_file_out_of_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    store = SQLiteStore(path, driver=of_version(RACY))
    store.open()

    assert "delete" == pragma(path, "journal_mode")
    store.close()


def test_a_file_that_must_stay_in_wal_mode_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "BUSY_TIMEOUT", 0.1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT * FROM users").fetchall()

        with pytest.raises(ConfigurationError, match=r"3\.40\.1.*PRAGMA journal_mode = DELETE"):
            SQLiteStore(path, driver=of_version(RACY)).open()


# ---------------------------------------------------------------------- in the user's transaction


def execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    for each in statements:
        connection.execute(each.sql, each.values)


def test_added_jobs_exist_if_the_transaction_commits(store: SQLiteStore, path: Path) -> None:
    first = a_job(request_id="r-1", run_at=1.0)
    second = a_job(after=first.id)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO users VALUES ('ann')")
        execute(connection, store.adding([first, second]))
        before = store.get([first.id, second.id])
        store.changed()
        connection.commit()

    after = {each.id: each for each in store.get([first.id, second.id])}
    assert [] == before
    assert {first.id, second.id} == set(after)
    assert first.id == after[second.id].after
    assert store.changed()


def test_added_jobs_do_not_exist_if_it_does_not(store: SQLiteStore, path: Path) -> None:
    job = a_job()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO users VALUES ('ann')")
        execute(connection, store.adding([job]))
        connection.rollback()

    assert [] == store.get([job.id])


def test_a_held_job_is_queued_there(store: SQLiteStore, path: Path) -> None:
    """The user's transaction cannot hold a claim."""
    with closing(sqlite3.connect(path)) as connection:
        execute(connection, store.adding([job := a_job(held=True)]))
        connection.commit()

    assert JobState.QUEUED is store.get([job.id])[0].state


def claimed(store: SQLiteStore, *jobs: NewJob) -> Claim:
    """Claim the first job."""
    store.join("ann", 60)
    store.add(jobs)
    (claim,) = store.claim("ann", ["default"], 10)
    return claim


def complete(store: SQLiteStore, path: Path, claim: Claim, outcome: Outcome) -> bool:
    """Settle in the application's own transaction."""
    first, *rest = store.completing(Settlement(claim, outcome))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO users VALUES ('bob')")
        accepted = connection.execute(first.sql, first.values).fetchone() is not None
        if accepted:
            execute(connection, rest)
            connection.commit()
    return accepted


def test_a_job_completes_in_their_transaction(store: SQLiteStore, path: Path) -> None:
    first = a_job()
    second = a_job(after=first.id)
    claim = claimed(store, first, second)

    assert complete(store, path, claim, Completed())
    assert JobState.COMPLETED is store.get([first.id])[0].state
    assert [second.id] == [each.id for each in store.claim("ann", ["default"], 10)]
    assert not complete(store, path, claim, Completed())


@pytest.mark.parametrize("outcome", [Failed("error"), Cancelled("no")])
def test_a_job_that_fails_there_stops_its_followers(
    store: SQLiteStore, path: Path, outcome: Outcome
) -> None:
    first = a_job()
    second = a_job(after=first.id)
    anyway = a_job(after=second.id, on_failure="continue")
    claim = claimed(store, first, second, anyway)

    assert complete(store, path, claim, outcome)
    assert STOPPED == store.get([second.id])[0].error
    assert [anyway.id] == [each.id for each in store.claim("ann", ["default"], 10)]


def test_a_job_is_queued_again_there(store: SQLiteStore, path: Path) -> None:
    claim = claimed(store, a_job())

    assert complete(store, path, claim, RetryAt(0.0, "error"))
    assert [2] == [each.attempt for each in store.claim("ann", ["default"], 10)]


def test_the_outcome_of_a_lost_attempt_is_refused_there(store: SQLiteStore, path: Path) -> None:
    claim = claimed(store, a_job())
    store.leave("ann")
    store.recover(10, 60)

    assert not complete(store, path, claim, Completed())
    assert JobState.QUEUED is store.get([claim.id])[0].state


def test_the_outcome_of_a_claim_that_was_given_back_is_refused_there(
    store: SQLiteStore, path: Path
) -> None:
    """The same worker has the same attempt again, by another claim."""
    old = claimed(store, a_job())
    store.release([Putback(old)])
    (new,) = store.claim("ann", ["default"], 10)

    assert (old.attempt, old.worker) == (new.attempt, new.worker)
    assert not complete(store, path, old, Completed())
    assert complete(store, path, new, Completed())


def test_a_connection_tells_which_store_it_reaches(store: SQLiteStore, path: Path) -> None:
    question = store.identifying()
    with closing(sqlite3.connect(path)) as connection:
        (answer,) = connection.execute(question.sql, question.values).fetchone()

    assert store.identity == answer


def test_the_statements_have_names_for_plain_values(store: SQLiteStore) -> None:
    claim = claimed(store, a_job())
    statements = [
        *store.adding([a_job(request_id="r-1")]),
        *store.completing(Settlement(claim, Failed("error"))),
    ]

    kinds = {type(value) for each in statements for value in each.values.values()}
    assert kinds <= {int, float, str, type(None)}


# ---------------------------------------------------------------------- migrations by hand


@pytest.mark.parametrize("driver", [Apsw, Pysqlite])
def test_the_script_makes_a_store(tmp_path: Path, driver: type[Apsw] | type[Pysqlite]) -> None:
    path = tmp_path / "jobs.db"
    store = SQLiteStore(path, driver=driver())
    connection = apsw.Connection(str(path))
    connection.execute(store.script())
    connection.close()
    store.open(create=False)
    store.add([job := a_job()])

    assert [job.id] == [each.id for each in store.find()]
    assert store.identity
    store.close()


def test_without_create_an_application_without_a_store_stays_so(path: Path) -> None:
    before = path.read_bytes()
    store = SQLiteStore.from_url(f"sqlite+pysqlite:///{path}")

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"lacks the migrations \[1, 2.*db migrate"):
            store.open(create=False)
    assert before == path.read_bytes()
