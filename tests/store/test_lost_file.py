"""Files that are deleted, replaced, or kept from shrinking while the store uses them."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterword.errors import StoreUnavailable
from afterword.model.job import NewJob, new_id
from afterword.store.sqlite import SQLiteStore, writer
from tests.helpers import Server, running, wait_until

SCHEMES = ["sqlite", "sqlite+pysqlite"]

APPLICATION = """
from fastapi import FastAPI
from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
Afterword(app, url="sqlite:///jobs.db")

def note() -> None:
    pass

@app.post("/")
async def add(background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(note)
    return {}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(params=SCHEMES)
def store(path: Path, request: pytest.FixtureRequest) -> Iterator[SQLiteStore]:
    store = SQLiteStore.from_url(f"{request.param}:///{path}")
    store.open()
    store.join("ann", 60)
    yield store
    store.close()


def a_job() -> NewJob:
    return NewJob(id=new_id(), task="app:send")


def replace_by_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").rename(path)


LOSSES: dict[str, Any] = {
    "deleted": Path.unlink,
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": replace_by_copy,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_file_is_noticed_by_every_verb(store: SQLiteStore, path: Path, loss: str) -> None:
    """Otherwise queries would show its old content for ever."""
    LOSSES[loss](path)

    for verb in (
        lambda: store.add([a_job()]),
        lambda: store.renew("ann", 60),
        lambda: store.recover(10, 60),
        lambda: store.claim("ann", ["default"], 1),
        store.queues,
        lambda: store.counters(0.0),
    ):
        with pytest.raises(StoreUnavailable, match=rf"{path} was deleted, moved or replaced"):
            verb()
    assert ("replaced" == loss) == path.exists()


def test_the_same_file_may_come_back(store: SQLiteStore, path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StoreUnavailable):
        store.add([a_job()])
    path.with_name("elsewhere.db").rename(path)

    assert [True] == [each.added for each in store.add([a_job()])]


def test_a_server_whose_file_is_deleted_answers_503_and_makes_no_new_one(
    tmp_path: Path, path: Path
) -> None:
    (tmp_path / "lost_file_app.py").write_text(APPLICATION)
    with running(Server("lost_file_app:app", tmp_path)) as server, server.client() as client:
        before = client.post("/").status_code
        for file in tmp_path.glob("jobs.db*"):
            if file.is_file():
                file.unlink()
        after = client.post("/").status_code
        wait_until(
            lambda: "was deleted, moved or replaced" in server.log.read_text(),
            description="the log says so",
            timeout=5,
        )

    assert (200, 503) == (before, after)
    assert not path.exists()


# ---------------------------------------------------------------------- without create


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_path_makes_no_store(path: Path, scheme: str) -> None:
    store = SQLiteStore.from_url(f"{scheme}:///{path}")

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=rf"no store at {path}.*afterword db migrate"):
            store.open(create=False)
    assert [] == list(path.parent.iterdir())


def test_an_empty_file_is_no_store_without_create(path: Path) -> None:
    path.touch()

    with pytest.raises(StoreUnavailable, match="lacks the migrations"):
        SQLiteStore(path).open(create=False)
    assert 0 == path.stat().st_size


def test_a_store_can_be_used_without_create(store: SQLiteStore, path: Path) -> None:
    store.add([job := a_job()])
    other = SQLiteStore.from_url(store.url)
    other.open(create=False)

    assert [job.id] == [each.id for each in other.find()]
    assert [True] == list(other.cancel([job.id], "no"))
    other.close()


# ---------------------------------------------------------------------- a reader that stays


def test_a_wal_that_cannot_be_emptied_is_warned_of_once_a_minute(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_LIMIT", 100_000)
    caplog.set_level(logging.WARNING)
    store, reader = SQLiteStore(path), SQLiteStore(path)
    store.open()
    reader.open()
    with_snapshot = reader._reader._connection
    assert with_snapshot is not None
    with_snapshot.execute("BEGIN")
    with_snapshot.execute("SELECT count(*) FROM afterword_jobs").fetchall()
    store.add([a_job() for _ in range(2_000)])
    for _ in range(3):
        store.recover(10, 60)

    assert 1 == caplog.text.count(f"wal_grows store={path}")
    store.close()
    reader.close()


def test_a_small_wal_is_not_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = SQLiteStore(path)
    store.open()
    store.add([a_job() for _ in range(100)])
    store.recover(10, 60)
    store.close()

    assert "" == caplog.text
