"""The contract of limits, rates and pauses: reasons for due jobs to wait."""

import threading
import time
from collections.abc import Callable

from afterword.model.job import JobState, NewJob
from afterword.model.outcome import Completed, Failed, Outcome, Released, RetryAt
from afterword.model.records import QueueRecord
from afterword.store.protocol import Claim, Putback, Store
from afterword.testing.kit import (
    BATCH,
    LONG,
    PAST,
    a_job,
    all_claims,
    claim,
    claim_of,
    end,
    expect,
    ids,
    join,
    lose,
    options,
    record,
    state,
    states,
)

SHORT = 0.5  # seconds


def _limited(count: int, limit: int = 1, key: str = "k", **changes: object) -> list[NewJob]:
    """Make jobs of which at most `limit` may run at the same time."""
    text = options(limit=limit)
    return [a_job(limit_key=key, options=text, **changes) for _ in range(count)]


def _rated(count: int, rate: tuple[int, float], key: str = "k", **changes: object) -> list[NewJob]:
    """Make jobs with a rate: at most so many start in a period."""
    text = options(rate=rate)
    return [a_job(limit_key=key, options=text, **changes) for _ in range(count)]


# ---------------------------------------------------------------------- limits of keys


def check_a_limit_holds_over_all_workers(store: Store) -> None:
    """At most `limit` jobs with a key run, over all workers, in the order of claims."""
    join(store, "ann", "bob")
    jobs = _limited(5, limit=2)
    store.add(jobs)
    first = all_claims(store, "ann")
    expect(ids(jobs[:2]), ids(first), "ann's claims")
    expect([], all_claims(store, "bob"), "bob's claims")
    expect([0, 0, 0], [record(store, each.id).attempt for each in jobs[2:]], "attempts")
    end(store, first[0], Completed())
    expect([jobs[2].id], ids(all_claims(store, "bob")), "bob's claims when one has ended")
    expect([], all_claims(store, "ann"), "ann's claims then")


def check_a_limit_holds_one_by_one(store: Store) -> None:
    """A limit holds for any number of jobs that are claimed at a time."""
    join(store, "ann")
    jobs = _limited(4, limit=3)
    store.add(jobs)
    expect(ids(jobs[:3]), [got.id for _ in jobs for got in all_claims(store, limit=1)], "claims")


def check_a_limit_holds_up_nobody_else(store: Store) -> None:
    """Jobs with other keys, without one, and in other queues pass those that must wait."""
    join(store, "ann")
    held_up = _limited(4, limit=1, run_at=PAST)
    others = [*_limited(2, limit=2, key="other"), *[a_job() for _ in range(3)]]
    store.add([*held_up, *others])
    for limit in (2, BATCH):
        all_claims(store, limit=limit)
    running = [each.id for each in (*held_up, *others) if state(store, each.id) == "running"]
    expect([held_up[0].id, *ids(others)], running, "running jobs")
    expect(None, record(store, held_up[1].id).worker, "the worker of one that waits")


def check_a_place_is_free_again(store: Store) -> None:
    """Whenever a job leaves its worker, the next one may start, and this is reported."""
    join(store, "ann", "bob")
    outcomes: tuple[Outcome, ...] = (
        Completed(),
        Failed("error"),
        RetryAt(LONG, "error"),
    )
    ways: dict[str, Callable[[Claim], object]] = {
        **{type(each).__name__: (lambda got, how=each: end(store, got, how)) for each in outcomes},  # type: ignore[misc]
        "release": lambda got: store.release([Putback(got, LONG)]),
        "discard": lambda got: store.discard([got]),
        "recover": lambda got: lose(store, got, LONG),
    }
    for what, way in ways.items():
        first, second = _limited(2, key=what)
        store.add([first, second])
        (got,) = all_claims(store, "bob" if what == "recover" else "ann")
        expect(first.id, got.id, f"the first, before {what}")
        way(got)
        expect(True, store.changed(), f"changed after {what}")
        expect([second.id], ids(all_claims(store, "ann")), f"claims after {what}")


def check_each_job_has_its_own_limit(store: Store) -> None:
    """If jobs with one key have different limits, each waits for its own."""
    join(store, "ann")
    wide, narrow = _limited(3, limit=3), _limited(2, limit=1, run_at=PAST)
    store.add([*wide, *narrow])
    expect(sorted([narrow[0].id, *ids(wide[:2])]), sorted(ids(all_claims(store))), "claims")


def check_a_key_without_a_limit_limits_nothing(store: Store) -> None:
    """A key without a limit delays no job."""
    join(store, "ann")
    store.add([a_job(limit_key="k") for _ in range(3)])
    expect(3, len(claim(store)), "claims")


def check_held_jobs_count(store: Store) -> None:
    """A held job counts for the limit of its key."""
    join(store, "ann")
    held, other = _limited(1, held=True)[0], _limited(1)[0]
    store.add([held, other], held_by="ann")
    expect([], all_claims(store), "claims")


def check_a_limit_keeps_the_order_of_requests(store: Store) -> None:
    """A job that waits for a predecessor does not count for the limit."""
    join(store, "ann")
    first = a_job()
    (second,), (third,) = _limited(1, after=first.id), _limited(1)
    store.add([first, second, third])
    expect(sorted(ids([first, third])), sorted(ids(all_claims(store))), "claims")


# ---------------------------------------------------------------------- limits of queues


def check_a_queue_can_be_limited(store: Store) -> None:
    """At most that many jobs of a queue run, over all workers; other queues are not affected."""
    join(store, "ann", "bob")
    store.limit({"mail": 2})
    mails = [a_job(queue="mail", priority=number % 3) for number in range(6)]
    others = [a_job() for _ in range(3)]
    store.add([*mails, *others])
    first = store.claim("ann", ["mail", "default"], BATCH)
    taken = [each for each in first if each.queue == "mail"]
    expect([mails[0].id, mails[3].id], ids(taken), "the most urgent mails")
    rest = [each for each in first if each.queue != "mail"]
    while store.changed():
        rest.extend(store.claim("ann", ["mail", "default"], BATCH))
    expect(ids(others), ids(rest), "other jobs")
    expect([], list(store.claim("bob", ["mail"], BATCH)), "bob's claims")
    end(store, taken[0], Completed())
    expect(True, store.changed(), "changed when one has ended")
    expect([mails[1].id], ids(store.claim("bob", ["mail"], BATCH)), "bob's claims then")


def check_a_queues_limit_can_be_changed(store: Store) -> None:
    """A limit can be changed and removed; running jobs continue."""
    join(store, "ann")
    store.add([a_job() for _ in range(6)])
    store.limit({"default": 3, "other": None})
    expect(3, len(all_claims(store)), "claims with limit 3")
    store.limit({"default": 2})
    expect(0, len(all_claims(store)), "claims with limit 2")
    store.limit({"default": 4})
    expect(True, store.changed(), "changed")
    expect(1, len(all_claims(store)), "claims with limit 4")
    store.limit({"default": None})
    expect(2, len(all_claims(store)), "claims without a limit")
    expect([], list(store.ruled()), "queues with a rule")


def check_a_limited_queue_with_limited_keys(store: Store) -> None:
    """If a queue and a key are limited, both limits hold."""
    join(store, "ann")
    store.limit({"default": 2})
    same, others = _limited(3, limit=1), [a_job() for _ in range(2)]
    store.add([*same, *others])
    expect(ids([same[0], others[0]]), ids(all_claims(store)), "claims")


def check_a_queue_cannot_be_limited_to_nothing(store: Store) -> None:
    """A limit is at least 1; to stop a queue, pause it."""
    try:
        store.limit({"default": 0})
    except Exception:
        expect([], list(store.ruled()), "queues with a rule")
    else:
        raise AssertionError("expected an error for a limit of 0")


# ---------------------------------------------------------------------- rates


def _seconds_from(store: Store, job: NewJob, since: float) -> float:
    """Return the seconds from a time of the store's clock to the start of each job."""
    return record(store, job.id).run_at.timestamp() - since


def _next_claims(store: Store, count: int) -> list[Claim]:
    """Claim so many jobs, which may have to wait for their slots."""
    found: list[Claim] = []
    until = time.monotonic() + 30.0
    while len(found) < count and time.monotonic() < until:
        found += all_claims(store)
        time.sleep(0.01)
    return found


def check_a_rate_spreads_the_starts(store: Store) -> None:
    """Jobs up to the rate start at once, the others wait for slots in the order of claims."""
    join(store, "ann", "bob")
    jobs = _rated(5, rate=(2, LONG))
    store.add(jobs)
    began = store.now()
    expect(ids(jobs[:2]), ids(all_claims(store, "ann")), "ann's claims")
    expect([], all_claims(store, "bob"), "bob's claims")
    slots = [round(_seconds_from(store, each, began) / LONG) for each in jobs[2:]]
    expect([1, 1, 2], slots, "periods until the others start")
    told = [(each.attempt, each.state) for each in store.get(ids(jobs[2:]))]
    expect([(0, JobState.QUEUED)] * 3, told, "attempts and states of those that wait")


def check_a_rate_counts_starts_not_ends(store: Store) -> None:
    """The end of a job lets no other one start sooner."""
    join(store, "ann")
    store.add(_rated(2, rate=(1, LONG)))
    (got,) = all_claims(store)
    end(store, got, Completed())
    expect([], all_claims(store), "claims")


def check_a_slot_comes(store: Store) -> None:
    """A job that was put off starts in its slot, before jobs that come later."""
    join(store, "ann")
    first, second, third = _rated(3, rate=(1, SHORT))
    store.add([first, second])
    began = store.now()
    claims = all_claims(store)
    time.sleep(1.2 * SHORT)
    store.add([third])
    claims += _next_claims(store, 3 - len(claims))
    expect(ids([first, second, third]), ids(claims), "claims")
    after = [_seconds_from(store, each, began) for each in (second, third)]
    apart = after[0] > 0.99 * SHORT and after[1] - after[0] > 0.99 * SHORT
    expect(True, apart, f"{after} seconds are periods apart")


def check_rates_are_each_keys_own(store: Store) -> None:
    """A rate does not delay the jobs of another key."""
    join(store, "ann")
    jobs = [job for key in ("a", "b", "c") for job in _rated(2, rate=(1, LONG), key=key)]
    store.add(jobs)
    expect(ids(jobs[::2]), ids(all_claims(store)), "claims")


def check_the_next_attempt_needs_a_slot_of_its_own(store: Store) -> None:
    """A retried job needs a slot of the rate like every other job."""
    join(store, "ann")
    for outcome in (RetryAt(0.0, "error"), Released()):
        (job,) = _rated(1, rate=(1, LONG), key=type(outcome).__name__)
        store.add([job])
        began = store.now()
        end(store, claim_of(store, job), outcome)
        expect([], all_claims(store), f"claims after {outcome}")
        expect(1, round(_seconds_from(store, job, began) / LONG), f"periods after {outcome}")


def check_what_never_started_keeps_its_slot(store: Store) -> None:
    """A job that was released before it started does not need another slot."""
    join(store, "ann")
    jobs = _rated(2, rate=(1, SHORT))
    store.add(jobs)
    claims = _next_claims(store, 2)
    expect(ids(jobs), ids(claims), "claims")
    store.release([Putback(each) for each in claims])
    expect(ids(jobs), ids(all_claims(store)), "claims of what was released")


def check_slots_of_what_was_cancelled_come_back(store: Store) -> None:
    """The slot of a job that is cancelled or deleted before its start goes to the next one."""
    join(store, "ann")
    ways: dict[str, Callable[[list[str]], object]] = {
        "cancel": lambda ids: store.cancel(ids, "no"),
        "delete": store.delete,
    }
    for key, way in ways.items():
        jobs = _rated(6, rate=(2, LONG), key=key)
        store.add(jobs)
        began = store.now()
        all_claims(store)
        way([jobs[2].id, jobs[4].id])
        more = _rated(3, rate=(2, LONG), key=key)
        for job in more:
            store.add([job])
            all_claims(store)
        slots = [round(_seconds_from(store, each, began) / LONG) for each in more]
        expect([1, 2, 3], slots, f"periods until the next ones start after {key}")


def check_a_rate_goes_on_when_all_was_cancelled(store: Store) -> None:
    """If all waiting jobs are gone, the next one does not wait behind their slots."""
    join(store, "ann")
    jobs = _rated(BATCH, rate=(1, LONG))
    store.add(jobs)
    began = store.now()
    all_claims(store)
    store.cancel(ids(jobs[1:]), "no")
    store.add([job := _rated(1, rate=(1, LONG))[0]])
    all_claims(store)
    expect(1, round(_seconds_from(store, job, began) / LONG), "periods until it starts")


def _behind_one_that_runs(store: Store) -> tuple[list[NewJob], Claim]:
    """Make two jobs whose slots have not come yet, and one that has the only place."""
    text = options(rate=(1, SHORT), limit=1)
    for key in map(str, range(20)):
        first, *jobs = [a_job(limit_key=key, options=text) for _ in range(3)]
        store.add([first, *jobs])
        (got,) = all_claims(store)
        end(store, got, Completed())
        claims = all_claims(store)  # the others get their slots
        store.add([other := a_job(limit_key=key)])
        claims += all_claims(store)
        if ids(claims) == [other.id]:
            return jobs, claims[0]
        store.cancel(ids(jobs), "the machine has paused, and a slot came too soon")
    raise AssertionError("a job that needs no slot is not claimed, or others before their slots")


def check_a_limit_takes_no_slot_away(store: Store) -> None:
    """A job whose slot has come while it waits for its limit starts once the limit allows."""
    join(store, "ann")
    jobs, got = _behind_one_that_runs(store)
    time.sleep(2.2 * SHORT)
    expect([], all_claims(store), "claims while another one has the place")
    for job in jobs:
        end(store, got, Completed())
        claims = all_claims(store)
        expect([job.id], ids(claims), "claims when the one before has ended")
        (got,) = claims


def check_a_limit_goes_before_a_rate(store: Store) -> None:
    """A job that must wait for its limit takes no slot from those that could start."""
    join(store, "ann")
    narrow, wide = options(rate=(2, LONG), limit=1), options(rate=(2, LONG))
    jobs = [a_job(limit_key="k", options=each) for each in (narrow, narrow, wide)]
    store.add(jobs)
    expect(ids([jobs[0], jobs[2]]), ids(all_claims(store)), "claims")


def check_purge_keeps_the_starts_that_count(store: Store) -> None:
    """A rate counts its starts for as long as they matter, even after a purge."""
    join(store, "ann")
    jobs = [*_rated(2, rate=(1, LONG)), *_rated(2, rate=(1, 0.01), key="short")]
    store.add(jobs)
    all_claims(store)
    time.sleep(0.05)
    store.purge(LONG, BATCH)
    (later,), (soon,) = _rated(1, rate=(1, LONG)), _rated(1, rate=(1, 0.01), key="short")
    store.add([later, soon])
    all_claims(store)
    expect([JobState.QUEUED, JobState.RUNNING], states(store, [later, soon]), "states")


def check_the_strangest_rate_stops_nobody(store: Store) -> None:
    """A job with invalid options, edited by hand, does not block any claim."""
    join(store, "ann")
    strange = [
        '{"rate":[0,5]}',
        '{"rate":[1,-5]}',
        '{"rate":[1,1e300]}',
        '{"rate":"often"}',
        '{"rate":[1]}',
        "[]",
        "7",
        '{"limit":null}',
    ]
    jobs = [a_job(limit_key=str(each), options=each) for each in strange for _ in range(2)]
    store.add([*jobs, other := a_job()])
    expect(True, other.id in ids(all_claims(store)), "another job is claimed")
    century = 100 * 365 * 24 * 3600.0
    store.add(_rated(BATCH, rate=(1, century)))  # the last of them would start in the year 12000
    expect(1, len(all_claims(store, limit=2 * BATCH)), "claims with a rate of one in a century")


# ---------------------------------------------------------------------- pauses


def check_a_paused_queue_gives_nothing(store: Store) -> None:
    """Jobs of a paused queue cannot be claimed; those of other queues can."""
    join(store, "ann")
    store.pause(["mail", "never used"])
    mail, other = a_job(queue="mail"), a_job()
    store.add([mail, other])
    expect([other.id], ids(store.claim("ann", ["mail", "default"], BATCH)), "claims")
    expect((JobState.QUEUED, 0), (state(store, mail.id), record(store, mail.id).attempt), "job")


def check_what_runs_goes_on_when_its_queue_is_paused(store: Store) -> None:
    """A pause does not stop running jobs."""
    join(store, "ann")
    store.add([first := a_job(), second := a_job()])
    got = claim(store, limit=1)[0]
    store.pause(["default"])
    expect(True, end(store, got, Completed()), "settled")
    expect([JobState.COMPLETED, JobState.QUEUED], states(store, [first, second]), "states")
    expect([], all_claims(store), "claims")


def check_resume(store: Store) -> None:
    """A resumed queue gives its jobs again, and `changed` reports it."""
    join(store, "ann")
    store.pause(["default", "mail"])
    store.pause(["default"])
    store.add([job := a_job()])
    expect([], all_claims(store), "claims while it is paused")
    store.resume(["default", "unknown"])
    expect(True, store.changed(), "changed")
    expect([job.id], ids(claim(store)), "claims")
    expect(["mail"], list(store.ruled()), "queues with a rule")


def check_a_pause_keeps_the_limit(store: Store) -> None:
    """A limited queue that was paused is still limited when it is resumed."""
    join(store, "ann")
    store.limit({"default": 1})
    store.pause(["default"])
    store.add([a_job(), a_job()])
    expect([], all_claims(store), "claims while it is paused")
    store.limit({"default": 1})
    expect([], all_claims(store), "claims while it is paused, limited again")
    store.resume(["default"])
    expect(1, len(all_claims(store)), "claims")


# ---------------------------------------------------------------------- when they hold


def _changing(store: Store, change: Callable[[], bool]) -> tuple[threading.Thread, list[bool]]:
    """Change a rule in another thread; return once the change is in the store."""
    answers: list[bool] = []
    before = store.rules("ann").version
    thread = threading.Thread(target=lambda: answers.append(change()))
    thread.start()
    deadline = time.monotonic() + 30.0
    while store.rules("ann").version == before and time.monotonic() < deadline:
        time.sleep(0.01)
    return thread, answers


def check_a_change_returns_when_it_is_noted(store: Store) -> None:
    """Pausing and limiting return once every worker that starts jobs has noted the rule."""
    store.join("ann", LONG, ["default"], 1)
    changes: tuple[Callable[[], bool], ...] = (
        lambda: store.pause(["default"]),
        lambda: store.limit({"default": 2}),
    )
    for change in changes:
        thread, answers = _changing(store, change)
        rules = store.rules("ann")
        expect(frozenset({"default"}), rules.queues, "queues with a rule")
        expect((False, []), (store.wait_noted(0.0), answers), "before it is noted")
        store.take_note("ann", rules.version)
        thread.join(10.0)
        expect([True], answers, "the answer")
        expect(rules.version, store.rules("ann").noted, "what ann has noted")
    expect(True, store.limit({"default": 2}), "the same limit again")


def check_who_starts_nothing_is_not_waited_for(store: Store) -> None:
    """Workers without jobs, retired or gone workers, and expired leases are not waited for."""
    store.join("stores-only", LONG)
    for worker, lease in (("drained", LONG), ("left", LONG), ("hangs", 0.0)):
        store.join(worker, lease, ["default"], 1)
    store.take_note("drained", None)
    store.leave("left")
    expect(True, store.pause(["default"]), "the answer")
    expect(None, store.rules("drained").noted, "what one has noted that starts nothing")


def check_a_change_is_waited_for_as_long_as_its_caller_says(store: Store) -> None:
    """A change is in the store even if a worker has not taken note within the caller's time."""
    store.join("ann", LONG, ["default"], 1)
    expect(False, store.pause(["default"], within=0.0), "noted")
    expect(False, store.limit({"default": 2}, within=0.0), "noted")
    found = [(each.paused, each.concurrency) for each in store.queues()]
    expect([(True, 2)], found, "rules")


def check_a_change_in_a_transaction_is_not_waited_for(store: Store) -> None:
    """A change in a transaction cannot be noted before the commit, so it is not waited for."""
    store.join("ann", LONG, ["default"], 1)
    with store.transaction():
        expect(False, store.pause(["default"]), "the answer")
    expect(False, store.wait_noted(0.0), "noted")
    store.take_note("ann", store.rules("ann").version)
    expect(True, store.wait_noted(0.0), "noted")


def check_queues_tell_their_rules(store: Store) -> None:
    """A queue with a rule is listed with it, even without jobs."""
    store.limit({"a": 3, "b": None})
    store.pause(["c"])
    store.add([a_job(queue="a"), a_job(queue="b")])
    told = {each.name: (each.due, each.concurrency, each.paused) for each in store.queues()}
    expect({"a": (1, 3, False), "b": (1, None, False), "c": (0, None, True)}, told, "queues")
    expect(["a", "c"], sorted(store.ruled()), "queues with a rule")
    empty = QueueRecord(
        name="c", due=0, scheduled=0, waiting=0, running=0, oldest_at=None, paused=True
    )
    expect([empty], [each for each in store.queues() if each.name == "c"], "the empty queue")
    store.resume(["c"])
    expect(["a", "b"], [each.name for each in store.queues()], "queues when it is resumed")
