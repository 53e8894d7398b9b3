"""The contract of the queries of people: filters, counts, workers, queues and tasks."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sized
from dataclasses import replace

from afterword.model.failures import Failures
from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import Cancelled, Completed, Failed, HandedOver, Outcome
from afterword.model.records import Filter, QueueRecord
from afterword.store.protocol import Claim, Report, Settlement, Store
from afterword.testing.kit import (
    BATCH,
    FUTURE,
    LONG,
    PAST,
    a_chain,
    a_job,
    claim,
    claim_of,
    end,
    expect,
    ids,
    join,
    record,
    running,
)

SHORT = 0.3  # seconds


def check_a_store_has_an_identity(store: Store) -> None:
    """The identity stays the same when the store is opened again, also with `create=False`."""
    identity = store.identity
    expect(True, bool(identity), "there is one")
    for create in (True, False):
        store.close()
        store.open(create=create)
        expect(identity, store.identity, f"identity, create={create}")


def check_the_script_is_text(store: Store) -> None:
    """The migrations are available as SQL, whether the store is open or not."""
    expect(True, "CREATE TABLE" in store.script(), "it creates tables")
    script = store.script()
    store.close()
    expect(script, store.script(), "the script of the closed store")


def check_the_revision_changes_with_the_store(store: Store) -> None:
    """The revision differs after each change of a job, a rule or a list."""
    join(store, "ann")
    jobs = [a_job(run_at=PAST), a_job(run_at=PAST)]
    claims: list[Claim] = []
    changes: dict[str, Callable[[], object]] = {
        "add": lambda: store.add(jobs),
        "claim": lambda: claims.extend(store.claim("ann", ["default"], 1)),
        "report": lambda: store.report([Report(claims[0], '{"current": 1}')]),
        "settle": lambda: store.settle([Settlement(claims[0], Completed())]),
        "cancel": lambda: store.cancel([jobs[1].id], "not wanted"),
        "retry": lambda: store.retry([jobs[0].id]),
        "limit": lambda: store.limit({"mail": 5}),
        "leave": lambda: store.leave("ann"),
    }
    for name, change in changes.items():
        before = store.revision()
        change()
        expect(True, before != store.revision(), f"the revision changed after {name}")


def check_a_window_bounds_what_is_read(store: Store) -> None:
    """A window has as many jobs as asked for, or up to twice as many, of one state or of all."""
    join(store, "ann")
    jobs = [a_job(run_at=PAST) for _ in range(8)]
    store.add(jobs[:4])
    for each in store.claim("ann", ["default"], 4):
        end(store, each, Failed("ValueError: no"))
    store.add(jobs[4:])
    newest = [job.id for job in reversed(jobs)]
    for many in (1, 2, 3):
        below = store.window(many)
        found = ids(store.find(Filter(above=below)))
        expect(newest[: len(found)], found, "the newest jobs")
        expect(True, many <= len(found) <= 2 * many, f"{len(found)} jobs in a window of {many}")
    expect(newest[2], store.window(2), "the id below the newest two")
    expect(newest[6], store.window(2, newest[3]), "the id below two before another")
    expect(newest[5], store.window(1, state=JobState.FAILED), "the id below the newest failed job")
    expect(None, store.window(4, state=JobState.FAILED), "no window for fewer jobs")
    expect(None, store.window(1, jobs[0].id), "no window below the oldest job")
    expect({JobState.FAILED: 1}, _some(store.count(Filter(above=newest[5]))), "failed jobs above")


def _some(counts: Mapping[JobState, int]) -> dict[JobState, int]:
    return {state: count for state, count in counts.items() if count and state.final}


# ---------------------------------------------------------------------- find


def _varied(store: Store) -> dict[str, NewJob]:
    """Add jobs that differ in every field to filter by; two of them have ended, one is running."""
    jobs = {
        "plain": a_job(tags=("a", "100% 'b'")),
        "other task": a_job(task="app:other"),
        "other queue": a_job(queue="mail"),
        "of a request": a_job(request_id="r-1"),
        "completed": a_job(request_id="r-1", queue="mail", run_at=PAST),
        "failed": a_job(task="app:other", run_at=PAST, tags=("a",)),
        "running": a_job(run_at=PAST),
    }
    outcomes: dict[str, Outcome] = {
        "completed": Completed(),
        "failed": Failed("ValueError: 100% of 'it'"),
    }
    join(store, "ann", "bob")
    store.add([job for name, job in jobs.items() if name in outcomes])
    for each in store.claim("ann", ["default", "mail"], BATCH):
        name = next(name for name, job in jobs.items() if job.id == each.id)
        end(store, each, outcomes[name])
    store.add([jobs["running"]])
    claim(store, "bob")
    store.add([job for name, job in jobs.items() if name not in (*outcomes, "running")])
    return jobs


_LOOKS: dict[Filter, set[str]] = {
    Filter(state=JobState.RUNNING): {"running"},
    Filter(state=JobState.FAILED): {"failed"},
    Filter(task="app:other"): {"other task", "failed"},
    Filter(queue="mail"): {"other queue", "completed"},
    Filter(worker="bob"): {"running"},
    Filter(worker="ann"): {"completed", "failed"},
    Filter(request_id="r-1"): {"of a request", "completed"},
    Filter(tag="a"): {"plain", "failed"},
    Filter(tag="a", state=JobState.FAILED): {"failed"},
    Filter(tag="100% 'b'"): {"plain"},
    Filter(tag="100%"): set(),
    Filter(tag="A"): set(),
    Filter(tenant="a"): {"plain", "failed"},
    Filter(tag="a", tenant="100% 'b'"): {"plain"},
    Filter(error="100% of 'it'"): {"failed"},
    Filter(error="1__%"): set(),  # literal text, not a pattern
    Filter(error="valueerror"): set(),
    Filter(since=FUTURE): set(),
    Filter(since=PAST, state=JobState.RUNNING): {"running"},
    Filter(until=PAST): set(),
    Filter(until=FUTURE, state=JobState.RUNNING): {"running"},
    Filter(until=FUTURE, since=PAST, tag="a"): {"plain", "failed"},
    Filter(task="app:other", state=JobState.QUEUED): {"other task"},
    Filter(task="app:other", state=JobState.COMPLETED): set(),
    Filter(queue="mail", request_id="r-1"): {"completed"},
    Filter(task="app:send", queue="mail", state=JobState.QUEUED): {"other queue"},
    Filter(task="'; DROP TABLE jobs; --"): set(),
}


def check_find_what_is_wanted(store: Store) -> None:
    """Find returns the jobs that match every field that is set, the newest first."""
    jobs = _varied(store)
    for wanted, names in _LOOKS.items():
        expected = sorted((jobs[name].id for name in names), reverse=True)
        expect(expected, ids(store.find(wanted)), f"jobs found with {wanted}")


def check_count_what_is_wanted(store: Store) -> None:
    """Count returns the numbers of the jobs that find returns, and zero for every other state."""
    _varied(store)
    for wanted in _LOOKS:
        counts = dict.fromkeys(JobState, 0)
        for each in store.find(wanted):
            counts[each.state] += 1
        expect(counts, dict(store.count(wanted)), f"counts with {wanted}")


def check_count_stops_at_the_limit(store: Store) -> None:
    """No state is counted further than the limit, with or without a filter."""
    join(store, "ann")
    store.add([a_job() for _ in range(3)])
    for attempt in claim(store):
        end(store, attempt, Completed())
    store.add([a_job(), a_job(task="app:other")])
    for wanted, limit, expected in (
        (Filter(), 2, (2, 2)),
        (Filter(), 3, (2, 3)),
        (Filter(), None, (2, 3)),
        (Filter(task="app:send"), 2, (1, 2)),
        (Filter(state=JobState.COMPLETED), 1, (0, 1)),
    ):
        counts = store.count(wanted, limit)
        found = (counts[JobState.QUEUED], counts[JobState.COMPLETED])
        expect(expected, found, f"queued and completed with {wanted}, limit {limit}")


def check_find_what_is_wanted_in_pages(store: Store) -> None:
    """Pages of a filtered query return every matching job once."""
    join(store, "ann")
    jobs = [a_job(task=f"app:{number % 2}") for number in range(8)]
    store.add(jobs)
    for attempt in claim(store, limit=4):
        end(store, attempt, Completed())
    wanted = Filter(task="app:1")
    pages = [store.find(wanted, limit=3)]
    while pages[-1]:
        pages.append(store.find(wanted, limit=3, before=pages[-1][-1].id))
    expect([3, 1, 0], [len(page) for page in pages], "jobs per page")
    expect(ids(store.find(wanted)), [each.id for page in pages for each in page], "ids")


def check_since_is_when_jobs_were_added(store: Store) -> None:
    """`since` leaves out jobs that were added earlier."""
    old, new = a_job(), a_job()
    store.add([old])
    time.sleep(0.05)
    store.add([new])
    since = record(store, new.id).created_at.timestamp() - 0.001  # a record has microseconds
    expect([new.id], ids(store.find(Filter(since=since))), "ids")


def check_until_is_when_jobs_were_added(store: Store) -> None:
    """`until` leaves out jobs that were added later, or at that time."""
    old, new = a_job(), a_job()
    store.add([old])
    time.sleep(0.05)
    store.add([new])
    until = record(store, new.id).created_at.timestamp() - 0.001
    expect([old.id], ids(store.find(Filter(until=until))), "ids")


def check_a_search_may_end_early(store: Store) -> None:
    """With `above` a search finds and counts only what matches in a window."""
    join(store, "ann")
    store.add([a_job(tags=("a",)) for _ in range(2)])
    for attempt in claim(store):
        end(store, attempt, Completed())
    jobs = [a_job(tags=("a",)), a_job(tags=("a",)), a_job(), a_job()]
    store.add(jobs)
    inside = Filter(tag="a", above=store.window(3, state=JobState.QUEUED))
    expect(ids(jobs[1:2]), ids(store.find(inside)), "ids")
    expect(1, store.count(inside)[JobState.QUEUED], "queued jobs counted")
    of_both = replace(inside, above=store.window(1, state=JobState.COMPLETED))
    counts = store.count(of_both)
    found = (counts[JobState.QUEUED], counts[JobState.COMPLETED])
    expect((2, 1), found, "jobs counted above the newest but one that ended")


def check_failures_are_grouped(store: Store) -> None:
    """Failed jobs are grouped by task, exception and message, the largest group first."""
    expect(Failures((), 0, True), store.failures(), "failures of a new store")
    join(store, "ann")
    errors = ("KeyError: 'a'", "KeyError: 'b'", "ValueError: 7 of 10", "KeyError: 'c'")
    jobs = [a_job(task="app:other" if number == 3 else "app:send") for number in range(4)]
    for job, error in zip(jobs, errors, strict=True):
        store.add([job])
        end(store, claim_of(store, job), Failed(error))
    end(store, running(store, "bob"), Cancelled("no"))
    found = store.failures()
    groups = [(each.task, each.exception, each.message, each.ids) for each in found.groups]
    expect(("app:send", "KeyError", "<text>", (jobs[1].id, jobs[0].id)), groups[0], "the largest")
    others = {
        ("app:send", "ValueError", "# of #", (jobs[2].id,)),
        ("app:other", "KeyError", "<text>", (jobs[3].id,)),
    }
    expect(others, set(groups[1:]), "the others")
    times = [record(store, job.id).finished_at for job in jobs[:2]]
    expect(times, [found.groups[0].first_at, found.groups[0].last_at], "the first and the last")
    expect((2, 2), (found.groups[0].count, sum(found.groups[0].hours)), "jobs in the last hours")


def check_failures_are_those_wanted(store: Store) -> None:
    """Only the newest failed jobs that match are looked at, and the answer says if all were."""
    jobs = _varied(store)
    end(store, running(store, "cid", task="app:third"), Failed("KeyError: 1"))
    for wanted, limit, expected in (
        (Filter(), 1, (["app:third"], 1, False)),
        (Filter(), 9, (["app:other", "app:third"], 2, True)),
        (Filter(task="app:other"), 9, (["app:other"], 1, True)),
        (Filter(tag="a", above=jobs["failed"].id), 9, ([], 0, True)),
        (Filter(error="KeyError", state=JobState.QUEUED), 9, (["app:third"], 1, True)),
    ):
        found = store.failures(wanted, limit)
        tasks = sorted(group.task for group in found.groups)
        expect(expected, (tasks, found.looked_at, found.all), f"{wanted}, limit {limit}")
    failed = store.failures(Filter(task="app:other")).groups[0].ids
    expect((jobs["failed"].id,), failed, "ids, which can be retried or deleted")


def check_what_is_no_id_is_nobodys(store: Store) -> None:
    """An invalid id is not found, and nothing can be done with it."""
    store.add([a_job()])
    strange = ["", "1", "no id", "x" * 36, "'; --", "%", "\0", "\ud800", "雪", new_id().upper()]
    expect([], list(store.get(strange)), "found")
    no = [False] * len(strange)
    expect(no, list(store.cancel(strange, "no")), "cancelled")
    expect(no, list(store.retry(strange)), "retried")
    expect(no, list(store.delete(strange)), "deleted")


# ---------------------------------------------------------------------- workers, queues, tasks


def check_workers_are_listed(store: Store) -> None:
    """A worker is listed with its queues, its host, and the number of jobs that it runs."""
    expect([], list(store.workers()), "workers of a new store")
    store.join("ann", LONG, ["mail", "default"], 40)
    time.sleep(0.01)
    store.join("bob", LONG)
    store.add([a_job(), a_job()])
    claim(store, "ann")
    ann, bob = store.workers()
    expect(("ann", ("mail", "default"), 40, 2), _served(ann), "ann")
    expect(("bob", (), 0, 0), _served(bob), "bob")
    expect((os.getpid(), True), (ann.pid, bool(ann.host)), "where ann is")
    expect((True, False), (ann.alive, ann.retired), "how ann is")
    lease = (ann.expires_at - ann.joined_at).total_seconds()
    expect(True, abs(lease - LONG) < 1, f"{lease} is ann's lease")


def _served(worker: object) -> tuple[object, ...]:
    return tuple(getattr(worker, name) for name in ("id", "queues", "concurrency", "running"))


def check_workers_come_and_go(store: Store) -> None:
    """A worker that shuts down is listed as retired, and one that has left is not listed."""
    join(store, "ann", "bob")
    store.retire("ann")
    expect({"ann": True, "bob": False}, {w.id: w.retired for w in store.workers()}, "retired")
    store.leave("ann")
    expect(["bob"], [each.id for each in store.workers()], "on the list")


def check_a_worker_without_a_lease_is_not_alive(store: Store) -> None:
    """A worker whose lease has expired is listed as not alive, until its jobs are recovered."""
    store.join("ann", lease=SHORT)
    time.sleep(2 * SHORT)
    expect([("ann", False)], [(each.id, each.alive) for each in store.workers()], "workers")
    store.recover(BATCH, LONG)
    store.add([a_job(held=True)], held_by="ann")
    store.recover(BATCH, LONG)
    expect([], list(store.workers()), "workers after recovery")


def check_queues(store: Store) -> None:
    """A queue is listed with its due, scheduled, waiting and running jobs, and its oldest."""
    expect([], list(store.queues()), "queues of a new store")
    join(store, "ann")
    store.add([a_job()])
    claim(store)
    store.add([a_job(run_at=PAST), a_job(), a_job(run_at=FUTURE), *a_chain(3)])
    store.add([a_job(queue="mail", run_at=FUTURE)])
    default, mail = store.queues()
    numbers = (default.due, default.scheduled, default.waiting, default.running)
    expect(("default", 3, 1, 2, 1), (default.name, *numbers), "default")
    oldest = default.oldest_at.timestamp() if default.oldest_at else 0
    expect(True, abs(oldest - PAST) < 1, f"{oldest} is since when the oldest is due")
    nothing_due = QueueRecord(name="mail", due=0, scheduled=1, waiting=0, running=0, oldest_at=None)
    expect(nothing_due, mail, "mail")


def check_queues_are_counted_up_to_a_limit(store: Store) -> None:
    """With a limit, no more jobs of a kind are counted, and the oldest due one is still found."""
    store.add([a_job(priority=each % 3, run_at=FUTURE) for each in range(12)])
    store.add([a_job(priority=each % 3) for each in range(12)])
    store.add([a_job(priority=2, run_at=PAST), *a_chain(9)])
    (exact,) = store.queues()
    numbers = (exact.due, exact.scheduled, exact.waiting)
    expect((14, 12, 8), numbers, "without a limit")
    (some,) = store.queues(limit=2)
    for name in ("due", "scheduled", "waiting"):
        number = getattr(some, name)
        expect(True, 2 <= number < getattr(exact, name), f"{number} {name} with a limit")
    expect(exact.oldest_at, some.oldest_at, "the oldest due job")
    (enough,) = store.queues(limit=100)
    expect(exact, enough, "a limit that is not reached")


def check_an_empty_queue_is_not_listed(store: Store) -> None:
    """A queue whose jobs have all ended is not listed."""
    attempt = running(store)
    expect(["default"], [each.name for each in store.queues()], "while it runs")
    end(store, attempt, Completed())
    expect([], list(store.queues()), "when it has ended")


def check_tasks(store: Store) -> None:
    """A task is listed with the numbers of its unfinished jobs; one without them is not."""
    expect([], list(store.tasks()), "tasks of a new store")
    end(store, running(store, "cid", task="app:gone"), Completed())
    _varied(store)
    tasks = [(task.name, task.queued, task.running) for task in store.tasks()]
    expect([("app:other", 1, 0), ("app:send", 3, 1)], tasks, "tasks")


def check_tasks_of_the_newest_jobs(store: Store) -> None:
    """With a limit, only the newest queued jobs are counted, but every running one."""
    running(store, task="app:old")
    store.add([a_job(task="app:old"), a_job(task="app:send"), a_job(task="app:send")])
    for limit, expected in (
        (1, [("app:old", 0, 1), ("app:send", 1, 0)]),
        (3, [("app:old", 1, 1), ("app:send", 2, 0)]),
    ):
        tasks = [(task.name, task.queued, task.running) for task in store.tasks(limit)]
        expect(expected, tasks, f"tasks with limit {limit}")


def check_handed_over_jobs_are_found(store: Store) -> None:
    """A job that was handed over is found and counted by its state."""
    handed = running(store)
    end(store, handed, HandedOver())
    end(store, running(store, "bob"), Completed())
    wanted = Filter(state=JobState.HANDED_OVER)
    expect([handed.id], ids(store.find(wanted)), "found")
    expect(1, store.count(wanted)[JobState.HANDED_OVER], "counted alone")
    expect(1, store.count()[JobState.HANDED_OVER], "counted with the others")


def check_a_hand_over_is_an_attempt(store: Store) -> None:
    """A job that was handed over can be retried; the attempt that did it stays on record."""
    handed = running(store)
    end(store, handed, HandedOver())
    outcomes = [each.outcome for each in store.attempts(handed.id)]
    expect([JobState.HANDED_OVER], outcomes, "attempts")
    expect([True], list(store.retry([handed.id])), "retried")
    outcomes = [each.outcome for each in store.attempts(handed.id)]
    expect([JobState.HANDED_OVER], outcomes, "attempts after that")


def check_looking_from_any_thread(store: Store) -> None:
    """Workers, queues and tasks may be queried from any thread, while another one writes."""
    attempt = running(store)
    seen: list[int] = []
    looks: tuple[Callable[[], Sized], ...] = (
        store.workers,
        store.queues,
        store.tasks,
        lambda: store.attempts(attempt.id),
        lambda: store.find(Filter(state=JobState.RUNNING)),
        lambda: store.count(Filter(task="app:send"), 10),
    )

    def look() -> None:
        seen.extend(len(look()) for look in looks)

    reader = threading.Thread(target=look)
    with store.transaction():
        store.add([a_job()])
        reader.start()
        reader.join(timeout=30)
    expect([1, 1, 1, 1, 1, len(JobState)], seen, "how much another thread saw before the commit")


def check_claims_know_their_queue(store: Store) -> None:
    """A claim has the queue of its job."""
    join(store, "ann")
    job = a_job(queue="mail")
    store.add([job])
    (got,) = store.claim("ann", ["default", "mail"], BATCH)
    expect((job.id, "mail"), (got.id, got.queue), "claim")
    store.add([other := a_job()])
    expect("default", claim_of(store, other).queue, "the queue of another claim")


def check_examine(store: Store) -> None:
    """A store describes its database, in a line for each fact."""
    remarks = store.examine()
    expect(True, bool(remarks) and all(each.name and each.found for each in remarks), "remarks")
