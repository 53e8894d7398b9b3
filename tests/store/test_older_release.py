"""Rolling deploys: a release with an older schema works on the same store."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import psycopg
import pytest

from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.migrations import load
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, Store
from afterword.store.sqlite.file import _APPLICATION_ID as APPLICATION_ID

LONG = 3600.0
# Statements of releases without `fence` that queue a job again, and that claim it.
QUEUED_AGAIN = "UPDATE {jobs} SET state = 'queued', worker = NULL"
ENDED = """
    INSERT INTO afterword_history (id, task, arguments, queue, priority, state, run_at, attempt,
        lost, interrupted, on_failure, created_at, finished_at)
    VALUES ('{id}', 'app:send', '{{}}', 'default', 0, '{state}', 0, 1, 0, 0, 'stop', 0, 0)"""
CLAIMED = "UPDATE {jobs} SET state = 'running', attempt = attempt + 1, worker = 'old'"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store with one worker of this release."""
    store = open_store(store_url)
    store.open()
    store.join("new", LONG)
    yield store
    store.close()


def execute(store_url: str, statement: str) -> None:
    """Execute a statement of a process of the older release."""
    if store_url.startswith("sqlite"):
        connection = apsw.Connection(store_url.partition(":///")[2])
        connection.execute(statement.format(jobs="afterword_jobs"))
        connection.close()
    else:
        with psycopg.connect(store_url, autocommit=True) as session:
            session.execute(statement.format(jobs="afterword.jobs").encode())


def test_an_older_release_may_take_a_job_over(store: Store, store_url: str) -> None:
    """It leaves the old fence in the row, with another attempt and worker."""
    store.add([job := NewJob(id=new_id(), task="app:send")])
    (before,) = store.claim("new", ["default"], 1)
    execute(store_url, QUEUED_AGAIN)
    execute(store_url, CLAIMED)

    assert [False] == store.settle([Settlement(before, Completed())])
    assert JobState.RUNNING is store.get([job.id])[0].state


@pytest.mark.parametrize("claimed_before", [False, True])
def test_what_an_older_release_runs_is_recovered(
    store: Store, store_url: str, claimed_before: bool
) -> None:
    store.add([job := NewJob(id=new_id(), task="app:send")])
    if claimed_before:
        store.claim("new", ["default"], 1)
        execute(store_url, QUEUED_AGAIN)
    execute(store_url, CLAIMED)

    assert [job.id] == [each.id for each in store.recover(10, 0.0)]
    (after,) = store.claim("new", ["default"], 1)
    assert [True] == store.settle([Settlement(after, Completed())])


def test_a_file_of_schema_9_takes_hand_overs_and_so_do_connections_open_before(
    tmp_path: Path,
) -> None:
    """The text of the tables is changed in place, below open connections of other processes."""
    path = tmp_path / "jobs.db"
    before = apsw.Connection(str(path))
    for each in load("afterword.store.sqlite")[:9]:
        before.execute(each.sql).fetchall()
        noted = f"INSERT INTO afterword_migrations (version, oldest) VALUES ({each.version}, 1)"
        before.execute(noted)
    before.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    before.execute(ENDED.format(state="completed", id="1")).fetchall()
    with pytest.raises(apsw.ConstraintError):
        before.execute(ENDED.format(state="handed_over", id="2")).fetchall()

    store = open_store(f"sqlite:///{path}")
    store.open()
    before.execute(ENDED.format(state="handed_over", id="2")).fetchall()

    counts = store.count()
    assert (1, 1) == (counts[JobState.COMPLETED], counts[JobState.HANDED_OVER])
    for wrong in ("odd", "failed"):  # the second one has no error
        with pytest.raises(apsw.ConstraintError):
            before.execute(ENDED.format(state=wrong, id="3")).fetchall()
    assert [("ok",)] == before.execute("PRAGMA integrity_check").fetchall()
    before.close()
    store.close()
