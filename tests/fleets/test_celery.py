"""Celery tasks in `add_task`: stored, and handed over to their fleet."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.backends.cache import CacheBackend
from fastapi import FastAPI
from starlette.testclient import TestClient

from afterword import JobState, task
from afterword.errors import ArgumentError, ConfigurationError, NotStorable
from tests.fleets import celery_site
from tests.fleets.celery_site import app as celery_app
from tests.fleets.celery_site import note, plain, to_taken_queue, waits, without_result
from tests.fleets.conftest import Ran
from tests.fleets.memory import in_memory, published, take_queue, using
from tests.fleets.servers import Broker, worker
from tests.fleets.site import Fleet, post, serving_fleet
from tests.helpers import wait_until


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Celery worker, and the app of this process set to its broker."""
    folder = tmp_path_factory.mktemp("celery")
    command = ("celery", "-A", "tests.fleets.celery_site", "worker", "-P", "solo")
    with using(broker.url), worker(folder, *command, FLEET_BROKER=broker.url):
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, tasks=[celery_site]) as site:
        yield site


@pytest.mark.usefixtures("fleet")
def test_tasks_are_handed_over_under_the_id_of_their_job(site: Fleet, ran: Ran) -> None:
    named = celery_app.signature("tests.fleets.celery_site.note", (ran.path, "by name"))
    ids = post(
        site,
        lambda tasks: tasks.add_task(note, ran.path),
        lambda tasks: tasks.add_task(note.delay, ran.path, text="delay"),
        lambda tasks: tasks.add_task(note.s(ran.path, text="signature")),
        lambda tasks: tasks.add_task(note.si(ran.path, "immutable")),
        lambda tasks: tasks.add_task(named),
        lambda tasks: tasks.add_task(plain, ran.path, times=2),
    )

    assert [JobState.HANDED_OVER] * 6 == site.states()
    wait_until(lambda: len(ran.lines) == 6, description="the fleet has run them", timeout=90)
    words = ["hello", "delay", "signature", "immutable", "by name"]
    expected = [f"{job_id} {word}" for job_id, word in zip(ids, words, strict=False)]
    assert sorted([*expected, "plain 2"]) == sorted(ran.lines)
    site.afterword.runtime.store.retry(ids[:1])  # by a person: it has an id of its own in the fleet

    assert {JobState.HANDED_OVER} == {*site.states()}
    wait_until(lambda: len(ran.lines) == 7, description="it ran again", timeout=90)
    assert f"{ids[0]}-1 hello" in ran.lines


def test_a_queue_that_cannot_be_used_holds_up_no_other(
    rabbitmq: Broker, site: Fleet, ran: Ran
) -> None:
    with using(rabbitmq.url):
        take_queue("taken")
        (bad,) = post(site, lambda tasks: tasks.add_task(to_taken_queue))

        def has_failed() -> bool:
            (job,) = site.afterword.runtime.store.get([bad])
            return "PRECONDITION_FAILED" in (job.error or "")

        wait_until(has_failed, description="RabbitMQ has refused it", timeout=90)
        (good,) = post(site, lambda tasks: tasks.add_task(note, ran.path))
        site.afterword.inquiries.wait_ended_sync([good], 90)

        (job,) = site.afterword.runtime.store.get([good])
        assert (JobState.HANDED_OVER, 1) == (job.state, job.attempt)
        site.afterword.runtime.store.cancel([bad], "the test is over")


# ---------------------------------------------------------------------- without a fleet


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: chain(plain.si("a"), plain.si("b")), "chain"),
        (lambda: group([plain.si("a")]), "group"),
        (lambda: chord([plain.si("a")], plain.si("b")), "chord"),
        (lambda: plain.map(["a"]), "xmap"),
        (lambda: plain.apply_async, "apply_async"),
        (lambda: plain.s("a").set(queue="mail"), "queue"),
        (celery_site.made_in_a_function, "top of a module"),
    ],
    ids=["chain", "group", "chord", "map", "apply_async", "options", "inner"],
)
def test_what_cannot_be_stored_is_refused_and_runs_nowhere(
    site: Fleet, ran: Ran, make: Any, word: str
) -> None:
    with pytest.raises(NotStorable, match=word):
        post(site, lambda tasks: tasks.add_task(make()))

    assert [] == site.jobs()


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        ((), {}, "missing a required argument"),
        (("a",), {"unknown": 1}, "unknown"),
        (("a", 1), {}, "too many positional"),
        (("a",), {"times": "two"}, "times"),
    ],
    ids=["missing", "unknown", "too many", "wrong type"],
)
def test_arguments_are_checked_in_the_route(
    site: Fleet, args: Any, kwargs: Any, error: str
) -> None:
    with pytest.raises(ArgumentError, match=error):
        post(site, lambda tasks: tasks.add_task(plain, *args, **kwargs))


def test_what_celery_cannot_encode_fails_in_the_route(site: Fleet) -> None:
    with pytest.raises(ArgumentError, match="Celery cannot encode") as caught:
        post(site, lambda tasks: tasks.add_task(waits, timedelta(seconds=4711)))

    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout": 5}, {"retries": 3}], ids=["timeout", "retries"])
def test_options_that_the_fleet_has_itself_are_refused(site: Fleet, options: Any) -> None:
    with pytest.raises(ConfigurationError, match="workers of Celery"):
        post(site, lambda tasks: tasks.options(**options).add_task(plain, "a"))
    with pytest.raises(ConfigurationError, match="workers of Celery"):
        task(plain, **options)


def test_a_broker_that_is_down_refuses_no_request_and_loses_nothing(site: Fleet, ran: Ran) -> None:
    with using("redis://127.0.0.1:9/0"):
        (job_id,) = post(site, lambda tasks: tasks.add_task(note, ran.path))

        def failed_once() -> bool:
            return site.jobs()[0].failures > 0

        wait_until(failed_once, description="the first attempt has failed", timeout=60)
        (job,) = site.jobs()
        assert (job_id, JobState.QUEUED) == (job.id, job.state)
        site.afterword.runtime.store.cancel([job_id], "the test is over")


def test_not_started_the_task_is_sent_and_not_run(tmp_path: Path, ran: Ran) -> None:
    """As with FastAPI, it is not durable; but the body still runs in the fleet."""
    with in_memory():
        with serving_fleet(tmp_path, started=False, tasks=[celery_site]) as site:
            post(site, lambda tasks: tasks.add_task(note, ran.path))

        assert (1, []) == (len(published()), ran.lines)


def test_the_status_api_asks_the_fleet(
    site: Fleet, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses the result backend; without one it says "handed_over"."""
    app = FastAPI()
    app.include_router(site.afterword.jobs_router(authorize=lambda: True, ask_fleets=True))
    with in_memory():
        job_id, ignoring = post(
            site,
            lambda tasks: tasks.add_task(note, ran.path),
            lambda tasks: tasks.add_task(without_result),
        )
        site.states()
    with TestClient(app) as client:

        def state(job_id: str = job_id) -> str:
            return str(client.get(f"/jobs/{job_id}").json()["state"])

        assert state() == "handed_over"
        backend = CacheBackend(app=celery_app, backend="memory://")
        monkeypatch.setattr(type(celery_app), "backend", backend)
        assert state() == "queued"
        assert state(ignoring) == "handed_over"  # Celery would say PENDING for ever
        assert "Retry-After" in client.get(f"/jobs/{job_id}").headers
        shown = {"STARTED": "running", "FAILURE": "failed", "SUCCESS": "completed"}
        for told, expected in shown.items():
            backend.store_result(job_id, ValueError("no") if told == "FAILURE" else None, told)
            assert expected == state()
            backend.delete(backend.get_key_for_task(job_id))
