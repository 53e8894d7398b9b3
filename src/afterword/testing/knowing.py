"""The contract of `Store.get`, `find`, `count`, `purge`, `changed` and `listen`."""

import threading
import time
from collections.abc import Callable

from afterword.model.job import JobState, new_id
from afterword.model.outcome import Cancelled, Completed, Failed, HandedOver, Outcome, RetryAt
from afterword.model.records import Filter
from afterword.store.protocol import Claim, Putback, Store
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
    lose,
    record,
    running,
    state,
)


def _one_of_each(store: Store) -> dict[JobState, str]:
    """Add a job in each state, oldest first."""
    join(store, "ann")
    found: dict[JobState, str] = {}
    outcomes: list[Outcome] = [Completed(), HandedOver(), Failed("error"), Cancelled("no")]
    for outcome in outcomes:
        job = a_job()
        store.add([job])
        end(store, claim_of(store, job), outcome)
        found[record(store, job.id).state] = job.id
    for job in (a_job(), a_job(run_at=FUTURE)):
        store.add([job])
        claim(store)
        found[record(store, job.id).state] = job.id
    return found


def check_get_finds_every_state(store: Store) -> None:
    """Get finds waiting, running and ended jobs, and leaves out unknown ones."""
    known = _one_of_each(store)
    found = {each.state: each.id for each in store.get([*known.values(), new_id()])}
    expect(known, found, "jobs by state")
    expect([], list(store.get([])), "no ids")


def check_count(store: Store) -> None:
    """Count has a number for each state, zero included."""
    expect(dict.fromkeys(JobState, 0), dict(store.count()), "an empty store")
    _one_of_each(store)
    expect(dict.fromkeys(JobState, 1), dict(store.count()), "one of each")


def check_find_is_newest_first(store: Store) -> None:
    """Find returns jobs of all states, the newest first."""
    known = list(_one_of_each(store).values())
    expect(known[::-1], ids(store.find()), "ids")


def check_find_by_state(store: Store) -> None:
    """Find can be limited to one state."""
    for each, job_id in _one_of_each(store).items():
        expect([job_id], ids(store.find(Filter(state=each))), f"jobs that are {each}")


def check_find_in_pages(store: Store) -> None:
    """Pages that begin after the last id of the previous page return every job once."""
    _one_of_each(store)
    store.add([a_job(run_at=FUTURE) for _ in range(4)])
    everything = ids(store.find())
    pages = [store.find(limit=4)]
    while pages[-1]:
        pages.append(store.find(limit=4, before=pages[-1][-1].id))
    expect([4, 4, 2, 0], [len(page) for page in pages], "jobs per page")
    expect(everything, [each.id for page in pages for each in page], "ids")


def check_reading_from_any_thread(store: Store) -> None:
    """Get, find and count may be called from any thread, while another one writes."""
    job = a_job()
    store.add([job])
    seen: list[object] = []

    def read() -> None:
        seen.append((ids(store.get([job.id])), ids(store.find()), store.count()[JobState.QUEUED]))

    reader = threading.Thread(target=read)
    with store.transaction():
        store.add([a_job()])
        reader.start()
        reader.join(timeout=30)
    expect([([job.id], [job.id], 1)], seen, "what another thread saw before the commit")


# ---------------------------------------------------------------------- purge


def check_purge_deletes_old_history(store: Store) -> None:
    """Purge deletes jobs that ended before the given time, and returns their number."""
    _one_of_each(store)
    expect(0, store.purge(LONG, BATCH), "purged as old as an hour")
    expect(4, store.purge(0.0, BATCH), "purged as old as nothing")
    expect([0, 0, 0, 0], [store.count()[each] for each in JobState if each.final], "history")


def check_purge_keeps_jobs_of_schedules_for_minutes(store: Store) -> None:
    """Another release may come to the same occurrence minutes later, and must find its job."""
    occurrence = running(store, tags=("night", "schedule:sweep"))
    other = running(store, "bob", tags=("my schedule:", "schedule"))
    end(store, occurrence, Completed())
    end(store, other, Completed())
    expect(1, store.purge(0.0, BATCH), "purged")
    expect(JobState.COMPLETED, state(store, occurrence.id), "the job of the occurrence")
    (added,) = store.add([a_job(id=occurrence.id)])
    expect(False, added.added, "added again")


def check_purge_keeps_unfinished_jobs(store: Store) -> None:
    """Jobs that have not ended are never purged, at any age."""
    attempt = running(store)
    store.add([a_job(run_at=PAST)])
    expect(0, store.purge(0.0, BATCH), "purged")
    expect(JobState.RUNNING, state(store, attempt.id), "the running job")


def check_purge_limit(store: Store) -> None:
    """Purge deletes at most `limit` jobs, those that ended first."""
    join(store, "ann")
    jobs = [a_job() for _ in range(3)]
    store.add(jobs)
    for attempt in claim(store):
        end(store, attempt, Completed())
    finished = sorted((record(store, job.id).finished_at, job.id) for job in jobs)
    expect(2, store.purge(0.0, 2), "purged")
    left = [job.id for job in jobs if state(store, job.id)]
    expect([finished[-1][1]], left, "left")


# ---------------------------------------------------------------------- changed


def _quiet(store: Store) -> None:
    """Call `changed` until it returns False, as it must."""
    if all(store.changed() for _ in range(100)):
        raise AssertionError("changed() always says True, which makes idle workers spin")


def check_changed_after_add(store: Store) -> None:
    """`changed` reports a new job, once."""
    _quiet(store)
    store.add([a_job()])
    expect(True, store.changed(), "changed after add")
    _quiet(store)


def check_changed_when_a_job_is_queued_again(store: Store) -> None:
    """`changed` reports jobs that are released, retried or recovered."""
    ways: dict[str, Callable[[Claim], object]] = {
        "release": lambda attempt: store.release([Putback(attempt)]),
        "retry": lambda attempt: end(store, attempt, RetryAt(0.0, "error")),
        "recover": lambda attempt: lose(store, attempt),
    }
    attempt = running(store)
    for what, way in ways.items():
        _quiet(store)
        way(attempt)
        expect(True, store.changed(), f"changed after {what}")
        attempt = (*claim(store), attempt)[0]  # after "recover" its worker gets no claims


def check_changed_when_a_follower_is_ready(store: Store) -> None:
    """`changed` reports the end of a job that others wait for."""
    join(store, "ann")
    jobs = a_chain(2)
    store.add(jobs)
    attempt = claim_of(store, jobs[0])
    _quiet(store)
    end(store, attempt, Completed())
    expect(True, store.changed(), "changed")


# ---------------------------------------------------------------------- listen


def _is_notified(store: Store, heard: threading.Event, every: float) -> bool:
    """Return True if a listener is notified, or finds it out as a worker would."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        if heard.wait(every) or store.changed():
            return True
    return False


def check_listen_tells_of_new_jobs(store: Store) -> None:
    """A listener is notified of a new job, or finds it by calling `changed` at the interval."""
    heard = threading.Event()
    every = store.listen(heard.set)
    expect(True, 0 < every <= 60, "seconds between two looks are sensible")
    heard.clear()
    store.add([a_job()])
    expect(True, _is_notified(store, heard, every), "told of a new job")


def check_listen_tells_of_what_people_do(store: Store) -> None:
    """A listener is notified of jobs that another thread has made claimable."""
    attempt = running(store)
    end(store, attempt, Failed("error"))
    heard = threading.Event()
    every = store.listen(heard.set)
    _quiet(store)
    heard.clear()
    person = threading.Thread(target=store.retry, args=([attempt.id],))
    person.start()
    person.join()
    expect(True, _is_notified(store, heard, every), "told of a job that was queued again")


def check_listen_replaces(store: Store) -> None:
    """Only the latest listener is notified."""
    first, second = threading.Event(), threading.Event()
    store.listen(first.set)
    every = store.listen(second.set)
    _quiet(store)
    first.clear()
    store.add([a_job()])
    expect(True, _is_notified(store, second, every), "the second one is told")
    expect(False, first.is_set(), "the first one is told")


def check_closing_ends_listening(store: Store) -> None:
    """No listener is notified after the store was closed, even if it is opened again."""
    heard = threading.Event()
    store.listen(heard.set)
    store.close()
    heard.clear()
    store.open()
    store.add([a_job()])
    expect(False, heard.wait(0.1), "told after close")
