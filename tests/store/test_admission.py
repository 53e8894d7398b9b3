"""Slots of a rate: never more than the rate gives, and released ones are not lost."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from afterword.model.clock import Clock
from afterword.model.job import JobOptions, NewJob, new_id
from afterword.store.admission import Starts
from afterword.store.sqlite import SQLiteStore

PERIOD = 60.0
NOW = 1_000.0

steps = st.lists(
    st.just("add")
    | st.tuples(st.just("cancel"), st.integers(0, 50))
    | st.tuples(st.just("pass"), st.floats(0, 100)),
    max_size=60,
)


@given(steps, st.integers(1, 4))
def test_no_window_has_more_slots_than_the_rate(steps: list[object], count: int) -> None:
    """This holds for all sequences of added and cancelled jobs."""
    now, slots, starts = NOW, list[float](), Starts()
    for step in steps:
        waiting = [slot for slot in slots if slot > now]
        if step == "add":
            starts = Starts.read(starts.text, starts.freed, max(waiting, default=None))
            slot, starts = starts.next((count, PERIOD), now)
            slots.append(slot)
        elif isinstance(step, tuple) and step[0] == "pass":
            now += step[1]
        elif isinstance(step, tuple) and waiting:
            slot = waiting[step[1] % len(waiting)]
            slots.remove(slot)
            starts = Starts(starts.at, (*starts.freed, slot))

    ordered = sorted(slots)
    later = zip(ordered, ordered[count:], strict=False)
    assert [] == [(one, other) for one, other in later if other - one < PERIOD - 1e-6]


def test_a_slot_that_was_given_up_is_the_next_one_to_be_given() -> None:
    starts = Starts(at=(1_300.0,), freed=(1_240.0, 1_060.0, 940.0), reserved=1_300.0)
    slots = []
    for _ in range(3):
        slot, starts = starts.next((1, PERIOD), NOW)
        slots.append(slot)

    assert [1_060.0, 1_240.0, 1_360.0] == slots


def test_a_start_in_the_future_for_which_no_job_waits_does_not_count() -> None:
    """A clock was wrong when it was noted, or the job was deleted by hand."""
    wrong = Starts(at=(970.0, 9e9), reserved=None)
    behind = Starts(at=(9e9,), reserved=1_120.0)
    ahead = Starts(at=(1_000.5,))  # by the clock of another process

    assert 1_030.0 == wrong.next((1, PERIOD), NOW)[0]
    assert 1_060.5 == ahead.next((1, PERIOD), NOW)[0]
    assert 1_180.0 == behind.next((1, PERIOD), NOW)[0]


class Stepped(Clock):
    """A clock that stands until it is moved."""

    seconds = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds


def test_a_start_under_a_wrong_clock_does_not_block_its_key(tmp_path: Path) -> None:
    clock = Stepped()
    store = SQLiteStore(tmp_path / "jobs.db", clock)
    store.open()
    store.join("ann", 3600.0)
    said = JobOptions(rate=(1, PERIOD)).text()

    def claimed() -> int:
        store.add([NewJob(id=new_id(), task="app:send", limit_key="k", options=said)])
        return len(store.claim("ann", ["default"], 10))

    clock.seconds += 10 * 365 * 24 * 3600.0
    wrong = claimed()
    clock.seconds -= 10 * 365 * 24 * 3600.0
    right = [claimed(), claimed()]
    store.close()

    assert (1, [1, 0]) == (wrong, right)
