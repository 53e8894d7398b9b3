"""Claims ahead of the free slots: only jobs that will start at once; others are released."""

import asyncio
from collections.abc import Sequence

import pytest

from afterword import Afterword, JobRecord, JobState
from afterword.model.clock import Clock
from afterword.model.job import NewJob, new_id
from afterword.model.records import Filter
from afterword.store.protocol import Claim, Store
from afterword.worker.claims import AHEAD, AT_LEAST, CAREFUL_FOR, GIVE_BACK_AFTER, MOST, Prefetch
from tests.at_work import wait_for
from tests.life.site import note_async, script, seen, store_of, working

pytestmark = pytest.mark.anyio

QUICK, LATE = 1_500, 20
running: list[JobRecord] = []  # when the long task began
the_store: list[Store] = []  # of the worker that runs it


async def nothing() -> None:
    """Return at once."""


async def take_long(cancel: bool) -> None:
    """Note the jobs that this worker holds before it can release any, and keep the slot."""
    (store,) = the_store
    running.extend(store.find(Filter(state=JobState.RUNNING)))
    others = [each.id for each in running if each.task != f"{__name__}:take_long"]
    if cancel:
        store.cancel(others, "not wanted any more")
    await asyncio.sleep(60)


@pytest.fixture(autouse=True)
def _nothing_has_begun() -> None:
    running.clear()
    the_store.clear()


async def a_backlog(url: str, *, cancel: bool = False) -> Sequence[str]:
    """Add many quick jobs, a long one, and some behind it; returns the ids of these."""
    with script(url) as afterword:
        quick = [NewJob(id=new_id(), task=f"{__name__}:nothing") for _ in range(QUICK)]
        store_of(afterword).add(quick)
        await afterword.add_task(take_long, cancel)
        jobs = [await afterword.add_task(note_async, f"late {n}") for n in range(LATE)]
    return [job.id for job in jobs]


def records_of(afterword: Afterword, ids: Sequence[str]) -> Sequence[JobRecord]:
    return store_of(afterword).get(ids)


def has_begun() -> bool:
    return bool(running)


# ---------------------------------------------------------------------- at work, on both stores


async def test_what_gets_no_slot_is_given_back_and_its_attempt_does_not_count(
    store_url: str,
) -> None:
    """No job waits behind a long job of its worker."""
    ids = await a_backlog(store_url)

    async with working(store_url, concurrency=1, grace=0.1) as afterword:
        the_store.append(store_of(afterword))
        await wait_for(has_begun, description="the long task has begun")
        async with working(store_url, concurrency=1) as other:
            await wait_for(lambda: len(seen) == LATE, description="another worker runs them")
            await wait_for(
                lambda: all(each.state.final for each in records_of(other, ids)),
                description="they are on record",
            )
            found = records_of(other, ids)

    assert len(running) > 1  # it had claimed ahead
    assert {(JobState.COMPLETED, 1, 0)} == {(each.state, each.attempt, each.lost) for each in found}


async def test_what_was_cancelled_while_it_waited_is_never_started(store_url: str) -> None:
    """It is not started although its worker had claimed it already."""
    ids = await a_backlog(store_url, cancel=True)

    async with working(store_url, concurrency=1, grace=0.1) as afterword:
        the_store.append(store_of(afterword))
        await wait_for(has_begun, description="the long task has begun")
        unwanted = [each.id for each in running if each.id in ids]
        await wait_for(
            lambda: all(each.state.final for each in records_of(afterword, unwanted)),
            description="they have ended",
        )
        found = records_of(afterword, unwanted)

    assert unwanted != []
    assert {JobState.CANCELLED} == {each.state for each in found}
    assert [] == seen


async def test_a_shutdown_gives_back_what_waits(store_url: str) -> None:
    """It is released at once, before the next process starts."""
    ids = await a_backlog(store_url)

    async with working(store_url, concurrency=1, grace=0.0) as afterword:
        the_store.append(store_of(afterword))
        await wait_for(has_begun, description="the long task has begun")
    with script(store_url) as afterword:
        found = records_of(afterword, ids)

    assert len(running) > 1
    assert {(JobState.QUEUED, 0, 0)} == {(each.state, each.attempt, each.lost) for each in found}


async def test_no_more_wait_than_are_allowed(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one claim at a time, however often jobs are asked for meanwhile."""
    waited = []
    put = Prefetch.put

    def noted(self: Prefetch, claims: Sequence[Claim]) -> None:
        put(self, claims)
        waited.append(len(self))

    monkeypatch.setattr(Prefetch, "put", noted)
    with script(store_url) as afterword:
        task = f"{__name__}:nothing"
        store_of(afterword).add([NewJob(id=new_id(), task=task) for _ in range(4 * MOST)])
    async with working(store_url, concurrency=8) as afterword:
        store = store_of(afterword)
        await wait_for(
            lambda: store.count()[JobState.COMPLETED] == 4 * MOST, description="all have ended"
        )

    assert max(waited) <= MOST + 8


# ---------------------------------------------------------------------- how much


class Movable(Clock):
    """Monotonic time that a test sets."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


def a_claim(name: str, *, lost: int = 0) -> Claim:
    return Claim(name, 1 + lost, "worker", "app:send", "{}", 0.0, lost=lost)


def at_work(clock: Clock, waiting: Prefetch, ended: int) -> None:
    """Run claims: so many have ended, and one goes on."""
    waiting.put([a_claim("running")])
    waiting.take()
    for _ in range(ended):
        waiting.note_end(idle=False)


@pytest.mark.parametrize(
    ("ended", "seconds", "room"),
    [
        (0, 1.0, 0),
        (10, 1.0, 0),
        (100, 1.0, 5),
        (1_000, 0.1, MOST),
        (50, AHEAD, 50),
        (50, AHEAD / 5, 250),
        (10, 0.0, 10 * AHEAD / AT_LEAST),
    ],
)
def test_there_is_room_for_what_starts_within_a_moment(
    ended: int, seconds: float, room: int
) -> None:
    """The recent rate of ended attempts decides."""
    clock = Movable()
    waiting = Prefetch(clock)
    at_work(clock, waiting, ended)
    clock.time += seconds

    assert room == waiting.room


def test_time_without_work_does_not_count() -> None:
    """This is time before the first claim, and time while the store is slow to claim."""
    clock = Movable()
    waiting = Prefetch(clock)
    clock.time += 1_000.0
    at_work(clock, waiting, 20)
    clock.time += 2 * AT_LEAST
    waiting.note_end(idle=True)
    clock.time += 1_000.0
    first = waiting.room
    at_work(clock, waiting, 10)
    clock.time += AT_LEAST

    assert 21 * AHEAD / AT_LEAST / 2 == pytest.approx(first)
    assert first == waiting.room  # until the next measure is complete


def test_the_end_of_a_backlog_says_nothing_of_the_next_one() -> None:
    """Jobs of the next backlog may take longer."""
    clock = Movable()
    waiting = Prefetch(clock)
    at_work(clock, waiting, 50)
    clock.time += AT_LEAST
    before = waiting.room
    waiting.forget_measure()

    assert (True, 0) == (before > 0, waiting.room)


def test_what_waits_already_takes_room() -> None:
    """The older measure counts until the next measuring time is over."""
    clock = Movable()
    waiting = Prefetch(clock)
    at_work(clock, waiting, 50)
    clock.time += AHEAD
    before = waiting.room
    waiting.put([a_claim("a"), a_claim("b")])

    assert (50, 48) == (before, waiting.room)


def test_only_what_has_waited_for_too_long_is_given_up() -> None:
    """Jobs are released in the order of their claims."""
    clock = Movable()
    waiting = Prefetch(clock)
    waiting.put([a_claim("a"), a_claim("b")])
    clock.time += GIVE_BACK_AFTER
    waiting.put([a_claim("c")])

    assert [a_claim("a"), a_claim("b")] == waiting.give_up(all_of_them=False)
    assert [] == waiting.give_up(all_of_them=False)
    assert [a_claim("c")] == waiting.give_up(all_of_them=True)


def test_what_was_lost_before_does_not_wait_and_nothing_does_for_a_while() -> None:
    """A job waiting in a dying process counts as lost; the third time it would fail."""
    clock = Movable()
    waiting = Prefetch(clock)
    at_work(clock, waiting, 50)
    clock.time += AHEAD
    waiting.put([a_claim("a"), a_claim("b", lost=1)])

    assert [a_claim("b", lost=1)] == waiting.give_up(all_of_them=False)
    assert -1 == waiting.room
    clock.time += CAREFUL_FOR
    for _ in range(1_000):
        waiting.note_end(idle=False)
    clock.time += AHEAD
    assert waiting.room > 0


def test_the_claims_of_some_queues_are_taken_out() -> None:
    """These are queues that have been paused or limited meanwhile."""
    waiting = Prefetch(Clock())
    claims = [
        Claim(str(n), 1, "ann", "app:send", "{}", 0.0, queue) for n, queue in enumerate("abab")
    ]
    waiting.put(claims)

    assert [claims[1], claims[3]] == waiting.take_out(frozenset("b"))
    assert [claims[0], claims[2]] == [waiting.take(), waiting.take()]
