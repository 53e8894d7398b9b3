"""Settlements and hand-backs: tried again after every error that is not known to be final."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import adding, calling, releasing
from afterword.errors import StoreError
from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Completed, Failed, Outcome
from afterword.store.protocol import Claim, Putback, Settlement, Store, held_claim
from afterword.store.sqlite import SQLiteStore
from afterword.worker.settlements import SettlementQueue
from tests.helpers import wait_until

WORKER = "0123456789abcdef"


class Ailing(SQLiteStore):
    """A store that cannot begin transactions at times, with an error that may be permanent."""

    unwell = False

    def transaction(self):  # type: ignore[no-untyped-def]
        if self.unwell:
            raise StoreError("unwell")
        return super().transaction()


@pytest.fixture
def store(tmp_path: Path) -> Ailing:
    return Ailing(tmp_path / "jobs.db")


@pytest.fixture
def group(store: Ailing, monkeypatch: pytest.MonkeyPatch) -> Iterator[GroupCommit]:
    monkeypatch.setattr("afterword.client.group_commit.INSIST_EVERY", 0.02)
    group = GroupCommit(store)
    group.start()
    group.run_blocking(calling(lambda store: store.join(WORKER, 3600.0)))
    yield group
    store.unwell = False
    group.stop()


def held(group: GroupCommit, count: int = 1) -> list[Claim]:
    """Store jobs that run here."""
    jobs = [NewJob(id=new_id(), task="app:send", held=True) for _ in range(count)]
    group.run_blocking(adding(jobs, WORKER))
    return [held_claim(job, WORKER, 1.0) for job in jobs]


def state(store: Store, claim: Claim) -> JobState:
    (found,) = store.get([claim.id])
    return found.state


@contextmanager
def without_its_table(store: SQLiteStore) -> Iterator[None]:
    """Rename the table for some time, as a rebuild by hand does."""
    with closing(apsw.Connection(str(store.path))) as other:
        other.set_busy_timeout(10_000)
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute("ALTER TABLE afterword_jobs RENAME TO away")
        yield
        other.execute("ALTER TABLE away RENAME TO afterword_jobs")


class Settled:
    """A list of the answers to settlements."""

    def __init__(self, group: GroupCommit) -> None:
        self.answers: list[tuple[str, bool, BaseException | None]] = []
        self._ends = SettlementQueue(group, self._on_settled)

    def add(self, claim: Claim, outcome: Outcome | None = None) -> None:
        self._ends.add(Settlement(claim, outcome or Completed()))

    def _on_settled(self, each: Settlement, accepted: bool, error: BaseException | None) -> None:
        self.answers.append((each.claim.id, accepted, error))


def test_a_put_back_is_tried_again_after_an_error_that_may_pass(
    store: Ailing, group: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    (claim,) = held(group)
    with caplog.at_level(logging.ERROR, "afterword"), without_its_table(store):
        group.insist(releasing([Putback(claim)]))
        wait_until(lambda: "no such table" in caplog.text, description="it was refused")

    wait_until(lambda: state(store, claim) is JobState.QUEUED, description="it is queued again")
    assert 1 == caplog.text.count("postponed")


def test_an_outcome_is_tried_again_after_an_error_that_may_pass(
    store: Ailing, group: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    (claim,), settled = held(group), Settled(group)
    with caplog.at_level(logging.ERROR, "afterword"), without_its_table(store):
        settled.add(claim)
        wait_until(lambda: "no such table" in caplog.text, description="it was refused")

    wait_until(lambda: settled.answers, description="it is on record")
    assert [(claim.id, True, None)] == settled.answers
    assert JobState.COMPLETED is state(store, claim)


def test_after_an_error_before_it_began_attempts_are_settled_again(
    store: Ailing, group: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    """The first waiter tells the store's thread; it must not wait for itself."""
    (first, second, third), settled = held(group, 3), Settled(group)
    with caplog.at_level(logging.ERROR, "afterword"):
        store.unwell = True
        settled.add(first)
        settled.add(second)
        wait_until(lambda: "unwell" in caplog.text, description="it was refused")
        store.unwell = False
    settled.add(third)

    wait_until(lambda: len(settled.answers) == 3, description="all of them are on record")
    assert {JobState.COMPLETED} == {state(store, each) for each in (first, second, third)}


def test_an_outcome_that_can_never_be_stored_is_answered(store: Ailing, group: GroupCommit) -> None:
    """Outcomes that were settled together with it are recorded."""
    (bad, good), settled = held(group, 2), Settled(group)
    gate, entered = threading.Event(), threading.Event()

    def wait(_: Store) -> None:
        entered.set()
        gate.wait(30)

    group.submit(calling(wait))
    assert entered.wait(30)
    settled.add(bad, Failed("half a surrogate: \ud800"))
    settled.add(good)
    gate.set()

    wait_until(lambda: len(settled.answers) == 2, description="both are answered")
    answers = {job_id: (accepted, error) for job_id, accepted, error in settled.answers}
    assert (True, None) == answers[good.id]
    assert isinstance(answers[bad.id][1], UnicodeEncodeError)


def test_what_was_postponed_is_tried_when_the_group_stops(
    store: Ailing, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterword.client.group_commit.INSIST_EVERY", 3600.0)
    (claim,) = held(group)
    group.stop_timers()  # with the long interval from here on
    store.unwell = True
    group.insist(releasing([Putback(claim)]))
    wait_until(lambda: group._postponed.qsize() == 1, description="it was postponed")
    store.unwell = False
    group.stop()

    store.open()
    assert JobState.QUEUED is state(store, claim)
    store.close()


def test_what_was_postponed_before_a_stop_is_tried_after_the_next_start(
    store: Ailing, group: GroupCommit
) -> None:
    (claim,) = held(group)
    store.unwell = True
    group.insist(releasing([Putback(claim)]))
    group.stop()
    store.unwell = False
    group.start()

    wait_until(lambda: state(store, claim) is JobState.QUEUED, description="it is queued again")
