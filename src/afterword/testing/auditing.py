"""The contract of the audit: actions of people, written in the same transaction."""

from afterword.model.audit import Actor
from afterword.store.protocol import Declared, Store
from afterword.testing.kit import (
    FUTURE,
    a_job,
    expect,
    expect_between,
    expect_refused,
)

ANN = Actor(name="ann", place="dashboard", selection="task:app:send")
BOB = Actor(name="bob", place="command line")


class _Undone(Exception):
    """Raised inside a transaction."""


def check_actions_are_audited(store: Store) -> None:
    """Each action of a person is in the audit, with name, place, verb, targets and count."""
    expect([], list(store.audit()), "audit of a new store")
    first = store.now()
    jobs = [a_job() for _ in range(3)]
    store.add(jobs)
    ids = [job.id for job in jobs]
    schedule = Declared(name="daily", task="app:send", rule="@daily", words="", next_at=FUTURE)
    store.declare([schedule])
    store.cancel(ids[:2], "by a person", by=ANN)
    store.retry(ids, by=BOB)
    store.delete(ids, by=ANN)
    store.pause(["mail", "default"], by=BOB)
    store.resume(["mail"], by=BOB)
    store.limit({"mail": 2}, by=BOB)
    store.pause_schedule("daily", True, by=BOB)
    store.pause_schedule("daily", False, by=BOB)
    audit = store.audit()
    found = [(each.action, each.name, each.target, each.count) for each in reversed(audit)]
    expected = [
        ("cancel", "ann", "task:app:send", 2),
        ("retry", "bob", ", ".join(ids), 2),
        ("delete", "ann", "task:app:send", 3),
        ("pause", "bob", "mail, default", 2),
        ("resume", "bob", "mail", 1),
        ("limit", "bob", "mail: 2", 1),
        ("pause schedule", "bob", "daily", 1),
        ("resume schedule", "bob", "daily", 1),
    ]
    expect(expected, found, "the audit")
    expect({"dashboard", "command line"}, {each.place for each in audit}, "places")
    expect_between(first, audit[-1].at, store.now(), "the time of the first one")


def check_what_changed_nothing_is_not_audited(store: Store) -> None:
    """An action that changed nothing is not in the audit, nor is one without an actor."""
    job = a_job()
    store.add([job])
    store.retry([job.id], by=ANN)
    store.pause_schedule("unknown", True, by=ANN)
    store.note("run", [job.id], 0, ANN)
    store.limit({"mail": 2})
    store.limit({"mail": 2}, by=ANN)
    store.cancel([job.id], "by the application")
    expect([], list(store.audit()), "audit")


def check_an_action_that_fails_is_not_audited(store: Store) -> None:
    """The audit is written in the transaction of the action: both are committed, or neither."""
    job = a_job()
    store.add([job])
    try:
        with store.transaction():
            store.cancel([job.id], "by a person", by=ANN)
            store.note("run", [job.id], 1, ANN)
            raise _Undone
    except _Undone:
        pass
    expect([], list(store.audit()), "audit")
    expect_refused(store, lambda: store.pause([""], by=ANN), "a queue without a name")
    expect([], list(store.audit()), "audit")


def check_other_actions_are_noted(store: Store) -> None:
    """An action that no verb for people makes is noted by its caller, in its transaction."""
    job = a_job()
    with store.transaction():
        store.add([job])
        store.note("run", ["app:send", job.id], 1, BOB)
    (found,) = store.audit()
    expected = ("run", "bob", "command line", f"app:send, {job.id}", 1)
    told = (found.action, found.name, found.place, found.target, found.count)
    expect(expected, told, "the action")


def check_batches_of_one_action_are_one(store: Store) -> None:
    """An action on all that match is one action, for any number of calls."""
    jobs = [a_job() for _ in range(5)]
    store.add(jobs)
    ids = [job.id for job in jobs]
    once, again = BOB.on_all("all of them"), BOB.on_all("all of them")
    store.cancel(ids[:2], "no", by=once)
    store.cancel(ids, "no", by=once)
    store.delete(ids, by=again)
    found = [(each.action, each.target, each.count) for each in store.audit()]
    expected = [("delete", "all of them", 5), ("cancel", "all of them", 5)]
    expect(expected, found, "the audit")


def check_the_audit_is_read_in_pages(store: Store) -> None:
    """Pages of the audit return each action once, the newest first."""
    for number in range(5):
        store.resume([str(number)], by=BOB)
    pages = [store.audit(2)]
    while pages[-1]:
        pages.append(store.audit(2, before=pages[-1][-1].id))
    expect(list("43210"), [each.target for page in pages for each in page], "queues")


def check_a_long_selection_is_cut(store: Store) -> None:
    """Of an action on many, the first ones are named; texts of any length and kind are kept."""
    jobs = [a_job() for _ in range(30)]
    store.add(jobs)
    store.cancel([job.id for job in jobs], "no", by=BOB)
    store.resume(["mail"], by=Actor(name="\0\ud800" * 5000, place="API", selection="x" * 5000))
    resumed, cancelled = store.audit()
    expect((30, True), (cancelled.count, cancelled.target.endswith(" and 20 more")), "cancelled")
    lengths = (len(resumed.name) < 1_100, len(resumed.target) < 1_100)
    expect((True, True), lengths, "short enough")
