"""Races of several processes' stores: limits always hold, and keys and occurrences are unique.

Here the stores are in one process, each in its own thread, with its own connections.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import pytest

from afterword.model.job import JobOptions, JobState, NewJob, new_id
from afterword.model.outcome import Completed, Outcome, Released, RetryAt
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.protocol import Added, Declared, Settlement, Store
from tests.helpers import wait_until

pytestmark = pytest.mark.usefixtures("patient")

T = TypeVar("T")

LONG = 3600.0  # seconds
PROCESSES = 4
OUTCOMES: list[Outcome] = [Completed(), Completed(), RetryAt(0.0, "no"), Released()]
RUNNING = Filter(state=JobState.RUNNING)


def a_job(**changes: object) -> NewJob:
    return NewJob(id=new_id(), task="app:send", **changes)  # type: ignore[arg-type]


@contextmanager
def opened(url: str, count: int = PROCESSES) -> Iterator[list[Store]]:
    """Open several stores of one URL, as several processes do."""
    with ExitStack() as stack:
        stores = []
        for _ in range(count):
            store = open_store(url)
            store.open()
            stack.callback(store.close)
            stores.append(store)
        yield stores


def at_once(act: Callable[[int], T], count: int = PROCESSES) -> list[T]:
    """Call a function in several threads at the same time; returns the results."""
    begin = threading.Barrier(count)

    def begun(number: int) -> T:
        begin.wait(timeout=30)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begun, range(count)))


class Observer:
    """An observer that counts running jobs by key and queue, and keeps the largest counts."""

    def __init__(self, store: Store) -> None:
        self.most: Counter[str] = Counter()
        self.looks = 0
        self._store = store
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.is_set():
            running = self._store.find(RUNNING, limit=1_000)
            for counts in (Counter(each.limit_key or "" for each in running), _queues(running)):
                self.most |= counts
            self.looks += 1

    def __enter__(self) -> "Observer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _queues(running: object) -> Counter[str]:
    return Counter(f"queue {each.queue}" for each in running)  # type: ignore[attr-defined]


def work(store: Store, number: int, left: Callable[[], int], queues: list[str]) -> int:
    """Run jobs as a worker does until none is left; die now and then."""
    dice, worker, settled = random.Random(number), new_id(), 0
    store.join(worker, LONG)
    while left():
        claims = store.claim(worker, queues, dice.randint(1, 5))
        time.sleep(dice.random() * 0.01)
        if dice.random() < 0.05:
            store.leave(worker)  # its jobs are lost, and run elsewhere
            worker = new_id()
            store.join(worker, LONG)
        outcome = dice.choice(OUTCOMES)
        settled += sum(store.settle([Settlement(each, outcome) for each in claims]))
        store.recover(100, 0.0)
    return settled


# ---------------------------------------------------------------------- limits


def test_no_limit_is_exceeded_at_any_moment(store_url: str) -> None:
    limits = {"one": 1, "two": 2, "three": 3}
    jobs = [
        a_job(limit_key=key, options=JobOptions(limit=limit).text(), queue=random.choice("ab"))
        for key, limit in limits.items()
        for _ in range(20)
    ]
    with opened(store_url, PROCESSES + 1) as (looking, *stores):
        looking.limit({"a": 4})
        looking.add([*jobs, *(a_job(queue=queue) for queue in "ab" for _ in range(20))])

        with Observer(looking) as observer:
            at_once(lambda n: work(stores[n], n, lambda: _unfinished(stores[n]), ["a", "b"]))

        assert {} == {key: n for key, n in observer.most.items() if n > limits.get(key, 100)}
        assert observer.most["queue a"] <= 4
        assert observer.looks > 10
        assert 0 == _unfinished(looking)


def _unfinished(store: Store) -> int:
    counts = store.count()
    return counts[JobState.QUEUED] + counts[JobState.RUNNING]


def test_every_place_is_taken(store_url: str) -> None:
    """A claim that could not decide tries again, so no slot stays empty while jobs wait."""
    options = JobOptions(limit=10).text()
    with opened(store_url) as stores:
        for number, store in enumerate(stores):
            store.join(str(number), LONG)
        stores[0].add([a_job(limit_key="k", options=options) for _ in range(50)])

        def take(number: int) -> int:
            taken, last = 0, time.monotonic()
            while time.monotonic() < last + 1.0:
                if stores[number].changed():
                    taken += len(stores[number].claim(str(number), ["default"], 2))
                    last = time.monotonic()
            return taken

        assert 10 == sum(at_once(take))
        assert 10 == stores[0].count(RUNNING)[JobState.RUNNING]


def test_no_slot_is_given_twice(store_url: str) -> None:
    """With any number of claims, exactly so many start at once, and in each later period."""
    options = JobOptions(rate=(5, LONG)).text()
    with opened(store_url) as stores:
        for number, store in enumerate(stores):
            store.join(str(number), LONG)
        stores[0].add([a_job(limit_key="k", options=options) for _ in range(40)])
        began = stores[0].now()

        def take(number: int) -> int:
            store, taken = stores[number], 0
            while store.count(Filter(state=JobState.QUEUED)) and _undecided(store, began):
                taken += len(store.claim(str(number), ["default"], 3))
            return taken

        assert 5 == sum(at_once(take))
        queued = stores[0].find(Filter(state=JobState.QUEUED))
        periods = Counter(round((each.run_at.timestamp() - began) / LONG) for each in queued)
        assert dict.fromkeys(range(1, 8), 5) == dict(periods)


def _undecided(store: Store, began: float) -> int:
    queued = store.find(Filter(state=JobState.QUEUED))
    return sum(each.run_at.timestamp() < began + LONG / 2 for each in queued)


# ---------------------------------------------------------------------- unique keys


def test_of_those_who_add_a_key_at_once_one_adds_it(store_url: str) -> None:
    with opened(store_url) as stores:
        for turn in range(20):
            key = f"turn {turn}"
            jobs = [a_job(unique_key=key) for _ in stores]

            answers = at_once(lambda n, jobs=jobs: stores[n].add([jobs[n]])[0])  # type: ignore[misc]

            assert 1 == sum(each.added for each in answers)
            assert 1 == len({each.id for each in answers})


def test_a_key_that_is_added_while_its_job_ends_names_a_job_that_is_there(store_url: str) -> None:
    """Every caller gets a new job, or one that exists."""
    with opened(store_url, 3) as (working, *adding):
        working.join("ann", LONG)
        ended = threading.Event()

        def add(number: int) -> list[tuple[str, Added]]:
            answers = []
            while not ended.is_set():
                job = a_job(unique_key="k")
                answers.append((job.id, adding[number].add([job])[0]))
            return answers

        def settle() -> int:
            settled, until = 0, time.monotonic() + 60
            while settled < 30 and time.monotonic() < until:
                claims = working.claim("ann", ["default"], 10)
                ends = [Settlement(each, Completed()) for each in claims]
                settled += sum(working.settle(ends))
            ended.set()
            return settled

        answers = at_once(lambda n: [(str(settle()), Added("", False))] if n == 2 else add(n), 3)
        told = [answer for some in answers[:2] for answer in some]
        new = {own for own, answer in told if answer.added}

        assert {answer.id for _, answer in told} <= new
        assert all(own == answer.id for own, answer in told if answer.added)
        assert int(answers[2][0][0]) in (len(new), len(new) - 1)
        assert len(new) > 10


def test_keys_may_be_added_in_any_order(store_url: str) -> None:
    """Batches with the same keys do not wait for each other."""
    keys = [str(number) for number in range(10)]
    with opened(store_url) as stores:

        def add(number: int) -> int:
            dice, new = random.Random(number), 0
            for turn in range(20):
                dice.shuffle(keys_of := [f"{turn} {key}" for key in keys])
                jobs = [a_job(unique_key=key) for key in keys_of]
                new += sum(each.added for each in stores[number].add(jobs))
            return new

        assert 200 == sum(at_once(add))


def test_a_follower_of_what_is_there_is_not_forgotten(store_url: str) -> None:
    """A follower of an existing job runs, even if that job ends at the same moment."""
    with opened(store_url, 2) as (one, two):
        one.join("ann", LONG)
        followers = []
        for turn in range(30):
            one.add([a_job(unique_key=f"{turn}")])
            (claim,) = one.claim("ann", ["default"], 1)
            again = a_job(unique_key=f"{turn}")
            followers.append(a_job(after=again.id))
            settlement = Settlement(claim, Completed())
            batch = [again, followers[-1]]
            with ThreadPoolExecutor(2) as pool:
                ended = pool.submit(one.settle, [settlement])
                answers = pool.submit(two.add, batch)
            assert [True] == ended.result()
            assert answers.result()[1].added
            wait_until(lambda: _run_all(one, "ann") == 0, description="everything has run")

        states = {each.state for each in one.get([each.id for each in followers])}
        assert {JobState.COMPLETED} == states


def test_who_moves_up_while_what_is_before_ends_is_not_forgotten(store_url: str) -> None:
    """The job between them is deleted at the moment when the first one ends."""
    with opened(store_url, 2) as (one, two):
        one.join("ann", LONG)
        lasts = []
        for _ in range(30):
            first = a_job()
            middle = a_job(after=first.id)
            last = a_job(after=middle.id)
            lasts.append(last.id)
            one.add([first, middle, last])
            (claim,) = one.claim("ann", ["default"], 1)
            settlement = Settlement(claim, Completed())
            with ThreadPoolExecutor(2) as pool:
                ended = pool.submit(one.settle, [settlement])
                deleted = pool.submit(two.delete, [middle.id])
            assert ([True], [True]) == (ended.result(), deleted.result())
            wait_until(lambda: _run_all(one, "ann") == 0, description="everything has run")

        assert {JobState.COMPLETED} == {each.state for each in one.get(lasts)}


def _run_all(store: Store, worker: str) -> int:
    claims = store.claim(worker, ["default"], 10)
    store.settle([Settlement(each, Completed()) for each in claims])
    return _unfinished(store)


# ---------------------------------------------------------------------- schedules


def test_every_occurrence_gets_one_job(store_url: str) -> None:
    """This holds for any number of processes with the schedule."""
    names = [f"schedule {number}" for number in range(3)]
    first, last, step = 1_000_000.0, 1_000_050.0, 1.0
    with opened(store_url) as stores:

        def deal(number: int) -> int:
            store, made = stores[number], 0
            store.declare(
                [
                    Declared(name=each, task="t", rule="r", words="w", next_at=first)
                    for each in names
                ]
            )
            while _next_at(store) <= last:
                with store.transaction():
                    for due in store.due(dict.fromkeys(names, "r")):
                        after = due.next_at + step if due.next_at < last else 4e9
                        if store.advance(due, after, due.next_at):
                            tags = (f"{due.name} {due.next_at}",)
                            made += store.add([a_job(tags=tags)])[0].added
            return made

        made = at_once(deal)

        jobs = stores[0].find(limit=1_000)
        assert 153 == sum(made) == len(jobs)
        assert 153 == len({each.tags for each in jobs})


def _next_at(store: Store) -> float:
    return min(each.next_at.timestamp() for each in store.schedules())
