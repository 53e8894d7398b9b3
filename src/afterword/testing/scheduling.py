"""The contract of schedules: declared by many processes, advanced by one."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from afterword.model.records import ScheduleRecord
from afterword.store.protocol import Declared, Due, Store
from afterword.testing.kit import FUTURE, LONG, PAST, a_job, expect

NIGHTLY = Declared(
    name="nightly", task="app:clean", rule="0 3 * * *", words="at 3:00", next_at=FUTURE
)
DUE = replace(NIGHTLY, name="due", next_at=PAST)


def _record(store: Store, name: str) -> ScheduleRecord:
    (found,) = [each for each in store.schedules() if each.name == name]
    return found


def _next_at(store: Store, name: str) -> float:
    return _record(store, name).next_at.timestamp()


def _names(dues: Sequence[Due]) -> list[str]:
    return [each.name for each in dues]


def _due(store: Store, *names: str, rule: str = NIGHTLY.rule) -> Sequence[Due]:
    return store.due(dict.fromkeys(names, rule))


def check_the_store_has_a_clock(store: Store) -> None:
    """The store's clock advances, and is close to that of this machine."""
    first = store.now()
    time.sleep(0.01)
    second = store.now()
    expect(True, first < second, f"{first} is before {second}")
    expect(True, abs(second - time.time()) < LONG, f"{second} is now")


def check_a_declared_schedule_is_listed(store: Store) -> None:
    """A schedule is listed with its declaration, and with the time of the last one."""
    expect([], list(store.schedules()), "schedules of a new store")
    store.declare([NIGHTLY, replace(NIGHTLY, name="a first")])
    expect(["a first", "nightly"], [each.name for each in store.schedules()], "names")
    found = _record(store, "nightly")
    told = (found.task, found.rule, found.words, found.next_at.timestamp())
    expect(("app:clean", "0 3 * * *", "at 3:00", FUTURE), told, "schedule")
    expect((None, False), (found.last_at, found.paused), "last_at and paused")
    ago = store.now() - found.seen_at.timestamp()
    expect(True, -1 < ago < LONG, f"seen {ago} s ago")


def check_declaring_again_changes_nothing(store: Store) -> None:
    """Declaring a known schedule keeps its cursor; only its task and its words may change."""
    store.declare([DUE])
    (due,) = _due(store, "due")
    store.advance(due, FUTURE, PAST)
    store.pause_schedule("due", True)
    before = _record(store, "due")
    time.sleep(0.01)
    store.declare([replace(DUE, next_at=PAST, task="app:other", words="nightly")])
    after = _record(store, "due")
    expected = replace(before, task="app:other", words="nightly", seen_at=after.seen_at)
    expect(expected, after, "schedule")
    expect(True, before.seen_at < after.seen_at, "it was seen")


def check_a_changed_rule_starts_anew(store: Store) -> None:
    """A schedule with a changed rule continues from the time that is declared with it."""
    store.declare([NIGHTLY])
    store.declare([replace(NIGHTLY, rule="0 4 * * *", next_at=FUTURE - 60)])
    found = _record(store, "nightly")
    expect(("0 4 * * *", FUTURE - 60), (found.rule, found.next_at.timestamp()), "schedule")


def check_two_rules_go_on_side_by_side(store: Store) -> None:
    """During a deploy two releases declare two rules, and no occurrence of either is lost."""
    new = replace(DUE, rule="* * * * *")
    store.declare([new])
    store.declare([replace(DUE, next_at=FUTURE)])
    store.declare([replace(new, next_at=FUTURE)])
    store.declare([replace(DUE, next_at=FUTURE)])
    expect([], list(_due(store, "due")), "due by the one rule")
    (due,) = _due(store, "due", rule=new.rule)
    expect((PAST, new.rule, None), (due.next_at, due.rule, due.last_at), "due by the other one")
    expect(True, store.advance(due, PAST + 1, PAST), "advanced")
    expect(False, store.advance(replace(due, rule=DUE.rule), FUTURE, PAST), "by the wrong rule")
    store.declare([replace(new, next_at=FUTURE)])
    (due,) = _due(store, "due", rule=new.rule)
    expect((PAST + 1, PAST), (due.next_at, due.last_at), "due again, and what got a job before")
    found = _record(store, "due")
    expect((new.rule, PAST + 1), (found.rule, found.next_at.timestamp()), "what people see")
    store.pause_schedule("due", True)
    expect([], list(_due(store, "due", rule=new.rule)), "due when it is paused")


def check_declared_twice_in_a_batch(store: Store) -> None:
    """Of two declarations of one schedule, the last one is kept."""
    store.declare([])
    store.declare([NIGHTLY, replace(NIGHTLY, words="later")])
    expect(["later"], [each.words for each in store.schedules()], "words")


def check_due(store: Store) -> None:
    """The given schedules whose next occurrence has come are due, in that order."""
    store.declare([NIGHTLY, DUE, replace(DUE, name="earlier", next_at=PAST - 0.5)])
    store.declare([replace(DUE, name="other")])
    dues = _due(store, "nightly", "due", "unknown", "earlier")
    expect(["earlier", "due"], _names(dues), "due")
    expect([PAST - 0.5, PAST], [each.next_at for each in dues], "next_at")
    expect(True, all(abs(each.now - store.now()) < LONG for each in dues), "now")
    expect([], list(store.due({})), "due of none")
    expect(["earlier", "due"], _names(_due(store, "due", "earlier")), "due a second time")


def check_advance(store: Store) -> None:
    """A schedule that was advanced is due again at its next occurrence."""
    store.declare([DUE])
    (due,) = _due(store, "due")
    expect(True, store.advance(due, PAST + 0.25, PAST), "advanced")
    (again,) = _due(store, "due")
    expect(PAST + 0.25, again.next_at, "next_at")
    expect(True, store.advance(again, FUTURE, None), "advanced without a job")
    expect([], list(_due(store, "due")), "due")
    last_at = _record(store, "due").last_at
    expect(PAST, last_at.timestamp() if last_at else None, "last_at")


def check_advance_is_for_who_saw_it(store: Store) -> None:
    """If several have seen the same occurrence, one of them advances the schedule."""
    store.declare([replace(DUE, next_at=1_700_000_000.123457)])
    (due,) = _due(store, "due")
    expect(True, store.advance(due, 1_700_000_060.2, due.next_at), "advanced")
    expect(False, store.advance(due, 1_700_000_060.2, due.next_at), "advanced again")
    expect(False, store.advance(replace(due, name="unknown"), FUTURE, None), "an unknown one")
    expect(1_700_000_060.2, _next_at(store, "due"), "next_at")


def check_a_paused_schedule_makes_nothing(store: Store) -> None:
    """A paused schedule is neither due nor advanced, until it is resumed."""
    store.declare([DUE])
    (due,) = _due(store, "due")
    expect(True, store.pause_schedule("due", True), "paused")
    expect(True, _record(store, "due").paused, "it says so")
    expect([], list(_due(store, "due")), "due")
    expect(False, store.advance(due, FUTURE, PAST), "advanced")
    expect(True, store.pause_schedule("due", False), "resumed")
    expect(["due"], _names(_due(store, "due")), "due again")
    expect(False, store.pause_schedule("unknown", True), "an unknown one")


def check_an_occurrence_and_its_job_are_one(store: Store) -> None:
    """An occurrence whose transaction fails has no job, and is due again."""
    store.declare([DUE])
    try:
        with store.transaction():
            (due,) = _due(store, "due")
            store.add([a_job()])
            expect(True, store.advance(due, FUTURE, PAST), "advanced")
            raise _Broken
    except _Broken:
        pass
    expect(0, sum(store.count().values()), "jobs")
    expect((PAST, None), (_next_at(store, "due"), _record(store, "due").last_at), "schedule")


class _Broken(Exception):
    """Raised inside a transaction."""


def check_schedules_from_any_thread(store: Store) -> None:
    """Schedules may be listed from any thread, while another one writes."""
    store.declare([DUE])
    seen: list[float] = []
    reader = threading.Thread(target=lambda: seen.append(_next_at(store, "due")))
    with store.transaction():
        (due,) = _due(store, "due")
        store.advance(due, FUTURE, PAST)
        reader.start()
        reader.join(timeout=30)
    expect([PAST], seen, "what another thread saw before the commit")
