"""Group commit: many callers and one transaction, on a real SQLite file, with a real thread."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from afterword.client.group_commit import MAX_BATCH, GroupCommit
from afterword.client.operation import Operation, adding, calling, settling
from afterword.errors import StoreError, StoreUnavailable
from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.protocol import Added, Settlement, Store, held_claim
from afterword.store.sqlite import SQLiteStore, drivers
from afterword.store.sqlite.drivers import Driver
from afterword.store.sqlite.writer import News, Writer
from tests.helpers import wait_until


class CountingWriter(Writer):
    """A writer that counts its commits, and that a test can stop half-way."""

    commits = 0

    def __init__(self, path: Path, driver: Driver, news: News) -> None:
        super().__init__(path, driver, news)
        self.committing = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    def commit(self) -> None:
        self.committing.set()
        self.may_commit.wait(timeout=30)
        super().commit()
        self.commits += 1


class CountingStore(SQLiteStore):
    """A store with a counting writer."""

    def _new_writer(self, driver: Driver) -> Writer:
        self.counting = CountingWriter(self.path, driver, self._news)
        return self.counting

    @property
    def commits(self) -> int:
        return self.counting.commits

    @property
    def committing(self) -> threading.Event:
        return self.counting.committing

    @property
    def may_commit(self) -> threading.Event:
        return self.counting.may_commit


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "jobs.db")


@pytest.fixture
def group(store: CountingStore) -> Iterator[GroupCommit]:
    group = GroupCommit(store)
    group.start()
    group.run_blocking(calling(queued))  # the start's own operations are done
    yield group
    store.may_commit.set()
    group.stop()


def a_job() -> NewJob:
    return NewJob(id=new_id(), task="app:send")


def bad_job() -> NewJob:
    return NewJob(id=new_id(), task="")


class Answers:
    """A list of the answers of operations."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[object, BaseException | None]] = {}

    def submit(self, group: GroupCommit, *operations: Operation) -> None:
        for operation in operations:
            self._listen(operation)
            group.submit(operation)

    def _listen(self, operation: Operation) -> None:
        number = len(self.of)
        self.of[number] = ("nothing yet", None)
        operation.done = lambda result, error: self.of.update({number: (result, error)})

    def wait(self) -> list[tuple[object, BaseException | None]]:
        wait_until(
            lambda: not any(result == "nothing yet" for result, _ in self.of.values()),
            description="every operation is answered",
        )
        return list(self.of.values())


@contextmanager
def busy(group: GroupCommit) -> Iterator[None]:
    """Keep the store's thread busy; operations that are submitted meanwhile are one batch."""
    gate, entered = threading.Event(), threading.Event()

    def wait(store: Store) -> None:
        entered.set()
        gate.wait(timeout=30)

    group.submit(calling(wait))
    assert entered.wait(timeout=30)
    try:
        yield
    finally:
        gate.set()


@contextmanager
def locked(store: SQLiteStore) -> Iterator[None]:
    """Keep another connection in a write transaction."""
    other = apsw.Connection(str(store.path))
    other.set_busy_timeout(60_000)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


class _Answer:
    """An object equal to the store's answer for a job that it has kept, or already knew."""

    def __init__(self, added: bool) -> None:
        self.added = added

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Added) and other.added == self.added

    __hash__ = None  # type: ignore[assignment]


KEPT, KNOWN = _Answer(True), _Answer(False)


def queued(store: Store) -> int:
    return store.count()[JobState.QUEUED]


# ---------------------------------------------------------------------- together


def test_many_callers_share_one_transaction(store: CountingStore, group: GroupCommit) -> None:
    answers = Answers()
    with busy(group):
        before = store.commits
        answers.submit(group, *[adding([a_job()], None) for _ in range(100)])
    answers.wait()

    assert before + 2 == store.commits  # one is that of the operation that kept the thread busy
    assert 100 == queued(store)


def test_each_caller_gets_its_own_answers(group: GroupCommit) -> None:
    known, answers = a_job(), Answers()
    group.run_blocking(adding([known], None))
    with busy(group):
        answers.submit(
            group,
            adding([a_job(), known], None),
            adding([], None),
            calling(lambda store: "called"),
            adding([a_job()], None),
        )

    assert [([KEPT, KNOWN], None), ([], None), ("called", None), ([KEPT], None)] == answers.wait()


def test_jobs_of_different_holders_are_not_mixed(store: CountingStore, group: GroupCommit) -> None:
    answers, jobs = Answers(), [NewJob(id=new_id(), task="app:send", held=True) for _ in range(2)]
    with busy(group):
        answers.submit(group, *[adding([job], f"worker of {job.id}") for job in jobs])
    answers.wait()

    holders = {each.id: each.worker for each in store.get([job.id for job in jobs])}
    assert {job.id: f"worker of {job.id}" for job in jobs} == holders


def test_a_long_queue_is_taken_in_several_batches(store: CountingStore, group: GroupCommit) -> None:
    answers = Answers()
    with busy(group):
        before = store.commits
        answers.submit(group, *[adding([a_job()], None) for _ in range(MAX_BATCH + 1)])
    answers.wait()

    assert before + 3 == store.commits
    assert MAX_BATCH + 1 == queued(store)


# ---------------------------------------------------------------------- apart


def test_a_bad_operation_fails_alone(store: CountingStore, group: GroupCommit) -> None:
    answers = Answers()
    with busy(group):
        answers.submit(
            group,
            adding([a_job()], None),
            adding([a_job(), bad_job()], None),
            adding([a_job()], None),
        )
    (first, bad, last) = answers.wait()

    assert ([KEPT], None) == first
    assert ([KEPT], None) == last
    assert isinstance(bad[1], StoreError)
    assert 2 == queued(store)


def test_a_function_that_raises_fails_alone(store: CountingStore, group: GroupCommit) -> None:
    def mistaken(store: Store) -> None:
        store.add([a_job()])
        raise LookupError("mistaken")

    answers = Answers()
    with busy(group):
        answers.submit(group, calling(mistaken), adding([a_job()], None))
    (bad, good) = answers.wait()

    assert isinstance(bad[1], LookupError)
    assert ([KEPT], None) == good
    assert 1 == queued(store)


def test_an_unavailable_store_fails_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "BUSY_TIMEOUT", 0.05)
    store, answers = CountingStore(tmp_path / "jobs.db"), Answers()
    group = GroupCommit(store)
    group.start()
    with locked(store):
        answers.submit(group, *[adding([a_job()], None) for _ in range(3)])
        errors = [error for _, error in answers.wait()]
    group.run_blocking(adding([a_job()], None))

    assert all(isinstance(error, StoreUnavailable) for error in errors)
    assert 1 == queued(store)
    group.stop()


# ---------------------------------------------------------------------- waiting, and giving up


def test_blocking_and_async_callers_get_results(store: CountingStore, group: GroupCommit) -> None:
    async def add() -> object:
        return await group.run(adding([a_job()], None), timeout=30)

    assert [KEPT] == group.run_blocking(adding([a_job()], None), timeout=30)
    assert [KEPT] == asyncio.run(add())
    assert 2 == queued(store)


def test_blocking_and_async_callers_get_errors(group: GroupCommit) -> None:
    with pytest.raises(StoreError):
        group.run_blocking(adding([bad_job()], None))
    with pytest.raises(StoreError):
        asyncio.run(group.run(adding([bad_job()], None)))


def test_callers_of_many_threads_and_tasks(store: CountingStore, group: GroupCommit) -> None:
    async def add_many() -> None:
        await asyncio.gather(*(group.run(adding([a_job()], None)) for _ in range(100)))

    with ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(asyncio.run, add_many()) for _ in range(2)]
        threads = [pool.submit(group.run_blocking, adding([a_job()], None)) for _ in range(100)]
        for each in (*loops, *threads):
            each.result(timeout=30)

    assert 300 == queued(store)


def test_who_gives_up_waiting_has_stored_nothing(store: CountingStore, group: GroupCommit) -> None:
    with busy(group):
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            group.run_blocking(adding([a_job()], None), timeout=0.01)
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            asyncio.run(group.run(adding([a_job()], None), timeout=0.01))
    group.run_blocking(adding([a_job()], None))

    assert 1 == queued(store)


def test_who_gives_up_while_the_batch_runs_has_stored_nothing(
    store: CountingStore, group: GroupCommit
) -> None:
    running, go_on, answers = threading.Event(), threading.Event(), Answers()

    def slow(store: Store) -> None:
        running.set()
        go_on.wait(timeout=30)

    given_up = adding([a_job()], None)
    with busy(group):
        answers.submit(group, adding([a_job()], None))
        group.submit(given_up)
        answers.submit(group, calling(slow))
    assert running.wait(timeout=30)
    assert given_up.abandon()
    go_on.set()
    answers.wait()

    assert 1 == queued(store)


def test_who_gives_up_during_the_commit_waits_for_it(
    store: CountingStore, group: GroupCommit
) -> None:
    store.committing.clear()
    store.may_commit.clear()
    operation = adding([a_job()], None)
    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(group.run_blocking, operation, 1.0)
        assert store.committing.wait(timeout=30)
        abandoned = operation.abandon()
        with pytest.raises(TimeoutError):
            caller.result(timeout=1.2)
        store.may_commit.set()

        assert [KEPT] == caller.result(timeout=30)
    assert not abandoned
    assert 1 == queued(store)


def test_who_is_cancelled_during_the_commit_waits_for_it(
    store: CountingStore, group: GroupCommit
) -> None:
    operation = adding([a_job()], None)

    async def cancel_twice() -> tuple[bool, bool]:
        store.committing.clear()
        store.may_commit.clear()
        caller = asyncio.create_task(group.run(operation, timeout=30))
        assert await asyncio.to_thread(store.committing.wait, 30)
        for _ in range(2):
            caller.cancel()
            await asyncio.wait([caller], timeout=0.05)
        waited = not caller.done()
        store.may_commit.set()
        await asyncio.wait([caller], timeout=30)
        return waited, caller.cancelled()

    assert (True, True) == asyncio.run(cancel_twice())
    assert operation.committed
    assert 1 == queued(store)


def test_who_is_cancelled_as_the_time_is_over_waits_for_nothing(group: GroupCommit) -> None:
    operation = adding([a_job()], None)

    async def cancel_then_expire() -> bool:
        with busy(group):
            caller = asyncio.create_task(group.run(operation, timeout=0.01))
            await asyncio.sleep(0)
            time.sleep(0.02)  # noqa: ASYNC251 - its time is over, but the loop has not noticed
            asyncio.get_running_loop().call_soon(caller.cancel)
            await asyncio.wait([caller], timeout=30)
        return caller.done()

    assert asyncio.run(cancel_then_expire())
    assert operation.abandoned


def test_a_cancelled_caller_harms_nobody(store: CountingStore, group: GroupCommit) -> None:
    async def cancel_one_of_two() -> object:
        with busy(group):
            loser = asyncio.create_task(group.run(adding([a_job()], None)))
            winner = asyncio.create_task(group.run(adding([a_job()], None)))
            await asyncio.sleep(0)
            loser.cancel()
            await asyncio.wait([loser])
        return await winner

    assert [KEPT] == asyncio.run(cancel_one_of_two())


def test_an_event_loop_that_is_closed_harms_nobody(group: GroupCommit) -> None:
    loop = asyncio.new_event_loop()
    orphan, answers = adding([a_job()], None), Answers()
    orphan.loop = loop
    loop.close()
    with busy(group):
        group.submit(orphan)
        answers.submit(group, adding([a_job()], None))

    assert [([KEPT], None)] == answers.wait()


def test_a_callback_that_raises_harms_nobody(
    group: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(result: object, error: BaseException | None) -> None:
        raise LookupError("no room for this answer")

    rude, answers = adding([a_job()], None), Answers()
    rude.done = refuse
    with caplog.at_level(logging.ERROR, "afterword"):
        with busy(group):
            group.submit(rude)
            answers.submit(group, adding([a_job()], None))
        answered = answers.wait()

    assert [([KEPT], None)] == answered
    assert "no room for this answer" in caplog.text


# ---------------------------------------------------------------------- timers, start and stop


def test_timers_go_on_after_errors(group: GroupCommit) -> None:
    steps: list[int] = []

    def step(store: Store) -> None:
        steps.append(1)
        raise StoreUnavailable("not now") if len(steps) % 2 else ZeroDivisionError

    group.every(0.005, step)
    wait_until(lambda: len(steps) >= 5, description="a step that always raises is repeated")

    assert [KEPT] == group.run_blocking(adding([a_job()], None))


def test_timers_run_under_load_in_the_stores_thread(group: GroupCommit) -> None:
    threads: set[str] = set()
    group.every(0.001, lambda store: threads.add(threading.current_thread().name))
    for _ in range(20):
        group.run_blocking(adding([a_job()], None))

    assert {"afterword-store"} == threads


def test_stop_finishes_what_is_in_the_queue(tmp_path: Path) -> None:
    store, answers = CountingStore(tmp_path / "jobs.db"), Answers()
    group = GroupCommit(store)
    group.start()
    with ThreadPoolExecutor(1) as pool, busy(group):
        answers.submit(group, *[adding([a_job()], None) for _ in range(100)])
        stopping = pool.submit(group.stop)
    stopping.result(timeout=30)

    assert [([KEPT], None)] * 100 == answers.wait()
    store.open()
    assert 100 == queued(store)
    store.close()


def test_operations_after_the_stop_fail_at_once(store: CountingStore, group: GroupCommit) -> None:
    group.stop()

    with pytest.raises(StoreUnavailable, match="not in use"):
        group.run_blocking(adding([a_job()], None))
    with pytest.raises(StoreUnavailable, match="not in use"):
        asyncio.run(group.run(adding([a_job()], None)))


def test_operations_that_race_with_the_stop_are_all_answered(tmp_path: Path) -> None:
    store, answers = CountingStore(tmp_path / "jobs.db"), Answers()
    group = GroupCommit(store)
    group.start()
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(group.stop)
        while not stopping.done():
            answers.submit(group, adding([a_job()], None))
        answers.submit(group, adding([a_job()], None))
    answered = answers.wait()

    assert isinstance(answered[-1][1], StoreUnavailable)
    store.open()
    assert sum(result == [KEPT] for result, _ in answered) == queued(store)
    store.close()


def test_a_stopped_group_starts_again(store: CountingStore, group: GroupCommit) -> None:
    group.run_blocking(adding([a_job()], None))
    group.stop()
    group.stop()
    group.start()
    group.start()

    assert [KEPT] == group.run_blocking(adding([a_job()], None))
    assert 2 == queued(store)


def test_a_start_from_many_threads_is_one_start(tmp_path: Path) -> None:
    group = GroupCommit(CountingStore(tmp_path / "jobs.db"))
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(group.start) for _ in range(8)]:
            each.result(timeout=30)

    assert before + 1 == threading.active_count()
    group.stop()


def test_a_store_that_cannot_be_opened_stays_stopped(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database, but long enough to be looked at" * 50)
    group = GroupCommit(SQLiteStore(tmp_path / "jobs.db"))

    for _ in range(2):
        with pytest.raises(StoreError, match="damaged or not a SQLite database"):
            group.start()
    assert not group.running


def test_a_settlement_is_answered_by_the_fence(group: GroupCommit) -> None:
    job = NewJob(id=new_id(), task="app:send", held=True)
    group.run_blocking(adding([job], "ann"))
    settlement = Settlement(held_claim(job, "ann", 1.0), Completed())

    assert [True] == group.run_blocking(settling([settlement]))
    assert [False] == group.run_blocking(settling([settlement]))


class Delicate(SQLiteStore):
    """A store that fails to add more than two jobs at once."""

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        if len(jobs) > 2:
            raise StoreUnavailable("one of so many writes has failed")
        return super().add(jobs, held_by)


def test_what_is_too_much_for_the_store_is_taken_in_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterword.client.group_commit.INSIST_EVERY", 0.02)
    group = GroupCommit(store := Delicate(tmp_path / "jobs.db"))
    group.start()
    for _ in range(64):
        group.insist(adding([NewJob(id=new_id(), task="app:send")], None))

    wait_until(lambda: store.count()[JobState.QUEUED] == 64, description="all of them are stored")
    group.stop()


# ---------------------------------------------------------------------- in the calling thread


def test_a_caller_that_blocks_commits_in_its_own_thread(group: GroupCommit) -> None:
    threads: list[str] = []
    operation = calling(lambda store: threads.append(threading.current_thread().name))
    group.submit_blocking(operation, timeout=5)

    assert [threading.current_thread().name] == threads
    assert operation.committed


def test_a_caller_with_less_time_than_the_store_leaves_the_commit_to_the_stores_thread(
    group: GroupCommit,
) -> None:
    """In its own thread it could not stop waiting for a locked file or a silent server."""
    threads: list[str] = []
    operation = calling(lambda store: threads.append(threading.current_thread().name))
    answered = threading.Event()
    operation.call_at_answer(answered.set)
    group.submit_blocking(operation, timeout=group.store.patience / 2)
    answered.wait(60)

    assert ["afterword-store"] == threads


def test_while_another_thread_commits_it_is_submitted(
    store: CountingStore, group: GroupCommit
) -> None:
    answers, own = Answers(), adding([a_job()], None)
    with busy(group):
        answers.submit(group, own)
        group.submit_blocking(calling(queued), timeout=5)  # returns, without an answer

    assert [([KEPT], None)] == answers.wait()


def test_callers_that_block_do_not_keep_the_timers_from_running(group: GroupCommit) -> None:
    beats = [0]

    def beat(store: Store) -> None:
        beats[0] += 1

    group.every(0.001, beat)
    before = beats[0]
    wait_until(lambda: bool(_adds_here(group)) and beats[0] > before + 3, description="beats")


def _adds_here(group: GroupCommit) -> bool:
    group.submit_blocking(adding([a_job()], None), timeout=5)
    return True


def test_a_caller_that_is_interrupted_leaves_nothing_that_others_wait_for(
    group: GroupCommit,
) -> None:
    def interrupt(store: Store) -> None:
        raise KeyboardInterrupt

    operation, answers = calling(interrupt), Answers()
    with pytest.raises(KeyboardInterrupt):
        group.submit_blocking(operation, timeout=5)
    answers.submit(group, adding([a_job()], None))

    assert not operation.call_at_answer(lambda: None)  # it is answered
    assert [([KEPT], None)] == answers.wait()
