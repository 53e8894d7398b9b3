"""A store's metrics for Prometheus, and the depth of its queues for autoscalers."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import time_machine
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from afterword import Afterword
from afterword.exporter import gauges
from afterword.exporter.application import exporter
from afterword.exporter.ended import PERIOD, EndedJobs, Key
from afterword.exporter.gauges import Gauges
from afterword.exporter.prometheus import StoreCollector, page
from afterword.model.clock import as_datetime
from afterword.model.job import Delay, JobState, NewJob, new_id
from afterword.model.outcome import Completed, Failed, Outcome
from afterword.store.opening import open_store
from afterword.store.protocol import Declared, Settlement, Store
from tests.life.fixtures import file_url, store_url
from tests.life.site import note

__all__ = ["file_url", "store_url"]

WORKER = "0123456789abcdef"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    store.open()
    store.join(WORKER, 60.0, ["default"], 4)
    yield store
    store.close()


def end(store: Store, *outcomes: Outcome, task: str = "m:f") -> None:
    """Add jobs, and end each with an outcome."""
    store.add([NewJob(id=new_id(), task=task) for _ in outcomes])
    claims = store.claim(WORKER, ["default"], len(outcomes))
    store.settle([Settlement(*pair) for pair in zip(claims, outcomes, strict=True)])


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a page by name and labels, the labels sorted by name."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(store: Store, ended: EndedJobs | None = None) -> dict[tuple[str, ...], float]:
    ended = ended or EndedJobs(lambda: store, store.now)
    body, _ = page(StoreCollector(Gauges(lambda: store, store.now), ended), "")
    return samples(body.decode())


def ended_before(store: Store, seconds: float, **changes: Any) -> float:
    """Store a job that ended some time ago; returns the time at which the counters count."""
    (added,) = store.add([NewJob(id=new_id(), task="m:f")])
    (known,) = store.get([added.id])
    ended_at = store.now() - seconds
    at = as_datetime(ended_at)
    told = {"id": new_id(), "state": JobState.COMPLETED, "attempt": 1, "run_at": at}
    store.delete([added.id])
    store.restore([replace(known, **{**told, "started_at": at, "finished_at": at, **changes})])
    return ended_at


# ---------------------------------------------------------------------- a page for Prometheus


def test_a_page_has_what_ended_and_what_waits(store: Store) -> None:
    at = ended_before(store, 700)
    ended_before(store, 700)
    ended_before(store, 700, state=JobState.FAILED, error="x")
    store.roll_up(1_000)
    store.add([NewJob(id=new_id(), task="m:f"), NewJob(id=new_id(), task="m:f", run_at=Delay(60))])
    found = shown(store, EndedJobs(lambda: store, lambda: at))

    assert 2 == found["afterword_jobs_total", "completed", "default", "m:f"]
    assert 1 == found["afterword_jobs_total", "failed", "default", "m:f"]
    assert 0 == found["afterword_jobs_total", "cancelled", "default", "m:f"]
    assert 3 == found["afterword_job_run_seconds_bucket", "+Inf", "m:f"]
    assert 3 == found["afterword_job_wait_seconds_bucket", "+Inf", "default"]
    assert 1 == found["afterword_queue_jobs", "default", "due"]
    assert 1 == found["afterword_queue_jobs", "default", "scheduled"]
    assert 0 <= found["afterword_queue_oldest_seconds", "default"] < 20
    assert (1, 4, 0) == tuple(
        found[(f"afterword_{name}",)] for name in ("workers", "slots", "slots_used")
    )


def test_buckets_rise_to_the_number_of_jobs(store: Store) -> None:
    at = ended_before(store, 700)
    ended_before(store, 700)
    store.roll_up(1_000)
    found = shown(store, EndedJobs(lambda: store, lambda: at))
    counts = [n for (name, *_), n in found.items() if name == "afterword_job_run_seconds_bucket"]

    assert sorted(counts) == counts
    assert 2 == counts[-1]


def test_a_long_queue_is_not_counted_to_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "COUNTED", 3)
    store.add([NewJob(id=new_id(), task="m:f") for _ in range(10)])

    assert [3] == [each.due for each in Gauges(lambda: store, store.now).queues()]


def test_what_takes_long_to_count_is_not_counted_at_once_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Gauges(lambda: store, store.now)
    seen = []
    for seconds in (3600.0, -1.0):  # longer counts as slow
        monkeypatch.setattr(gauges, "SLOW", seconds)
        for _ in range(2):
            store.add([NewJob(id=new_id(), task="m:f")])
            seen += [each.due for each in reader.queues()]
        monkeypatch.setattr(gauges, "SHARE", 1e9)

    assert [1, 2, 3, 3] == seen


@pytest.mark.usefixtures("ids_of_another_time")
def test_schedules_are_late_if_no_process_is_running(
    lasting: Store, clock: time_machine.Traveller
) -> None:
    """Schedules that were removed from the code before are still forgotten."""
    reader = Gauges(lambda: lasting, lasting.now)
    seen = []
    for name in ("removed", "kept"):
        next_at = lasting.now() + 60
        lasting.declare([Declared(name=name, task="m:f", rule="x", words="", next_at=next_at)])
        clock.shift(1_000)
        seen.append([each.name for each in reader.schedules()])
    lasting.leave(WORKER)
    left = [(each.name, reader.lag_of(each)) for each in reader.schedules()]

    assert [[], []] == seen
    assert [("kept", 940.0)] == left


# ---------------------------------------------------------------------- counters only rise


def test_a_number_is_told_at_zero_before_it_rises(store: Store) -> None:
    """To Prometheus, a series that appears at 1 has not increased."""
    end(store, Failed("x"), task="m:new")
    found = shown(store)

    assert 0 == found["afterword_jobs_total", "failed", "default", "m:new"]
    assert 0 == found["afterword_jobs_total", "completed", "default", "m:new"]
    assert 0 == found["afterword_job_run_seconds_bucket", "+Inf", "m:new"]


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that a test sets, some time after the counters began at zero."""
    with time_machine.travel(PERIOD * 700 + 30.0, tick=False) as clock:
        yield clock


@pytest.fixture
def lasting(file_url: str, clock: time_machine.Traveller) -> Iterator[Store]:
    """A store with a worker that runs for months."""
    store = open_store(file_url)
    store.open()
    store.join(WORKER, 100 * 24 * 3600.0, ["default"], 4)
    yield store
    store.close()


@pytest.mark.usefixtures("ids_of_another_time")
def test_counters_never_fall_and_are_the_same_everywhere(
    lasting: Store, clock: time_machine.Traveller
) -> None:
    """Meanwhile minutes are counted, summed up and deleted, and history is purged."""
    ended, seen = EndedJobs(lambda: lasting, lasting.now), []
    for seconds in (100, 1_000, 5_000, 100, 3 * 24 * 3600):
        end(lasting, Completed(), Completed())
        seen.append(_completed(ended))
        clock.shift(seconds)
        lasting.roll_up(1_000)
        lasting.purge(1.0, 1_000)
        seen.append(_completed(ended))
        assert _completed(EndedJobs(lambda: lasting, lasting.now)) == seen[-1]  # of a new process

    assert [0, 2, 2, 4, 4, 6, 6, 8, 8, 10] == seen


@pytest.mark.usefixtures("ids_of_another_time")
def test_a_minute_that_is_not_counted_may_lose_jobs(
    lasting: Store, clock: time_machine.Traveller
) -> None:
    """A person retries or deletes them before they were counted, so no counter falls."""
    ended = EndedJobs(lambda: lasting, lasting.now)
    (added,) = lasting.add([NewJob(id=new_id(), task="m:f")])
    lasting.settle([Settlement(lasting.claim(WORKER, ["default"], 1)[0], Completed())])
    before = _completed(ended)
    lasting.delete([added.id])
    clock.shift(100)
    lasting.roll_up(1_000)

    assert (0, 0) == (before, _completed(ended))


@pytest.mark.usefixtures("ids_of_another_time")
def test_counters_begin_at_zero_every_28_days(
    lasting: Store, clock: time_machine.Traveller
) -> None:
    """Every counter exists from the start, also in a process that starts later."""
    ended = EndedJobs(lambda: lasting, lasting.now)
    end(lasting, Completed())
    clock.shift(100)
    lasting.roll_up(1_000)
    before = _completed(ended)
    clock.shift(PERIOD)
    after = [_completed(each) for each in (ended, EndedJobs(lambda: lasting, lasting.now))]

    assert (1, [0, 0]) == (before, after)


def _completed(ended: EndedJobs) -> int:
    return ended.read()[Key("m:f", "default", JobState.COMPLETED)].jobs


# ---------------------------------------------------------------------- served, and printed


def test_an_application_serves_its_metrics(store_url: str) -> None:
    from starlette.applications import Starlette

    app = Starlette()
    afterword = Afterword(app, store_url, queues=["default", "mail.a"])
    app.mount("/metrics", afterword.metrics())
    secret = afterword.metrics(authorize=lambda request: "key" in request.headers)
    app.mount("/secret", secret)
    with TestClient(app) as client:
        afterword.options(queue="mail.b").add_task_sync(note, "a")
        page = client.get("/metrics/")
        depth = client.get("/metrics/queues").json()
        one = client.get("/metrics/queues/mail.b").json()
        refused, allowed = client.get("/secret/"), client.get("/secret/", headers={"key": "1"})
        newer = client.get("/metrics/", headers={"Accept": "application/openmetrics-text"})

    assert "text/plain" in page.headers["content-type"]
    assert 1 == samples(page.text)["afterword_workers",]
    assert ("afterword_leases_lost_total", str(os.getpid())) in samples(page.text)
    assert (403, 200) == (refused.status_code, allowed.status_code)
    assert newer.text.endswith("# EOF\n")
    assert (1, 1, 40) == (depth["due"], depth["workers"], depth["slots"])
    assert 1 == depth["queues"]["mail.b"]["due"]
    assert (1, 0) == (one["due"], one["running"])
    assert 0 <= one["oldest_seconds"] < 20


def test_a_store_that_is_away_is_a_503(tmp_path: Path) -> None:
    from afterword.errors import StoreUnavailable

    def away() -> Store:
        raise StoreUnavailable("no")

    served = exporter(Gauges(away, float), EndedJobs(away, float))
    client = TestClient(served)

    assert 503 == client.get("/").status_code
    assert 503 == client.get("/queues").status_code


def test_a_paused_queue_needs_no_more_workers(store: Store) -> None:
    """The workers that run its jobs must stay."""
    from afterword.exporter.depth import depth

    store.add([NewJob(id=new_id(), task="m:f", queue="mail") for _ in range(2)])
    store.claim(WORKER, ["mail"], 1)
    with store.transaction():  # does not wait until the worker has taken note
        store.pause(["mail"])
    reader = Gauges(lambda: store, store.now)
    found, one = depth(reader), depth(reader, "mail")

    assert (0, 1, 0.0) == (found["due"], found["running"], found["oldest_seconds"])
    assert (0, 1, 0.0) == (one["due"], one["running"], one["oldest_seconds"])
    assert (1, 1, True) == tuple(
        found["queues"]["mail"][each] for each in ("due", "running", "paused")
    )


async def _no(_: Request) -> bool:
    return False


class _No:
    """A callable that is not a coroutine function, but whose call makes a coroutine."""

    async def __call__(self, _: Request) -> bool:
        return False


REFUSALS: dict[str, tuple[Callable[[Request], object], int]] = {
    "async def": (_no, 403),
    "lambda": (lambda request: _no(request) if request else True, 403),
    "object": (_No(), 403),
    "None": (lambda request: None, 403),
    "exception": (lambda request: HTTPException(401), 401),
    "response": (lambda request: Response(status_code=401), 500),
}


@pytest.mark.parametrize(("authorize", "status"), REFUSALS.values(), ids=REFUSALS)
def test_only_true_grants_access(
    store: Store, authorize: Callable[[Request], object], status: int
) -> None:
    """An answer that is only truthy, such as a coroutine, does not grant access."""
    gauges, ended = Gauges(lambda: store, store.now), EndedJobs(lambda: store, store.now)
    client = TestClient(exporter(gauges, ended, authorize=authorize), raise_server_exceptions=False)

    assert [status, status] == [client.get(path).status_code for path in ("/", "/queues")]
