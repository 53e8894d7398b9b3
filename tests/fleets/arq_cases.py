"""Tests for arq, run by test_arq.py in an environment that has it."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from afterword import JobState, task
from afterword.errors import ArgumentError, ConfigurationError
from afterword.fleets.recognition import remote_task
from tests.fleets import arq_site
from tests.fleets.conftest import Ran
from tests.fleets.site import PATIENCE, Fleet, post, serving_fleet
from tests.helpers import wait_until

note: Any = task(arq_site.note, via=arq_site.SETTINGS)  # its parameters are those without `ctx`
by_name = task("note", via=arq_site.SETTINGS)
in_json: Any = task(arq_site.note_function, via=arq_site.JsonSettings)
failing: Any = task("fail", via=arq_site.SETTINGS)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, tasks=[arq_site, sys.modules[__name__]]) as site:
        yield site


def test_a_function_and_a_name_are_handed_over(site: Fleet, ran: Ran) -> None:
    ids = post(
        site,
        lambda tasks: tasks.add_task(note, ran.path, text="by function"),
        lambda tasks: tasks.add_task(by_name, ran.path, "by name"),
    )

    assert [JobState.HANDED_OVER] * 2 == site.states()
    wait_until(lambda: len(ran.lines) == 2, description="the fleet has run them", timeout=PATIENCE)
    assert sorted([f"{ids[0]} by function", f"{ids[1]} by name"]) == sorted(ran.lines)


def test_the_same_id_twice_is_one_run_and_a_retry_by_a_person_another(
    site: Fleet, ran: Ran
) -> None:
    remote = remote_task(note)
    assert remote is not None
    (job_id,) = post(site, lambda tasks: tasks.add_task(note, ran.path))
    site.states()
    connection = remote.connect()

    connection.send(remote, job_id, [ran.path], {})  # as after a crash before it was settled
    connection.close()
    site.afterword.runtime.store.retry([job_id])

    assert [JobState.HANDED_OVER] == site.states()
    wait_until(lambda: len(ran.lines) == 2, description="both runs", timeout=PATIENCE)
    assert sorted([f"{job_id} hello", f"{job_id}-1 hello"]) == sorted(ran.lines)


def test_the_queue_and_the_serializer_of_a_worker_are_used(site: Fleet, ran: Ran) -> None:
    (job_id,) = post(site, lambda tasks: tasks.add_task(in_json, ran.path, "json"))

    assert [JobState.HANDED_OVER] == site.states()
    wait_until(lambda: bool(ran.lines), description="the fleet has run it", timeout=PATIENCE)
    assert [f"{job_id} json"] == ran.lines
    remote = remote_task(in_json)
    assert remote is not None
    wait_until(
        lambda: remote.ask(job_id) is JobState.COMPLETED, description="arq says so", timeout=30
    )


def test_what_the_serializer_of_a_worker_refuses_is_refused_in_the_route(site: Fleet) -> None:
    with pytest.raises(ArgumentError, match="arq cannot encode"):
        post(site, lambda tasks: tasks.add_task(dated, "x", date(2030, 1, 1)))
    with pytest.raises(ArgumentError, match="keyword function, which arq's enqueue_job takes"):
        post(site, lambda tasks: tasks.add_task(by_name, function="x"))
    assert [] == site.jobs()


def test_arq_is_asked(site: Fleet, ran: Ran) -> None:
    good, bad = post(
        site,
        lambda tasks: tasks.add_task(note, ran.path),
        lambda tasks: tasks.add_task(failing),
    )
    site.states()
    remote = remote_task(note)
    assert remote is not None

    def has_ended(job_id: str, state: JobState) -> None:
        wait_until(lambda: remote.ask(job_id) is state, description=state, timeout=PATIENCE)

    has_ended(good, JobState.COMPLETED)
    has_ended(bad, JobState.FAILED)
    assert remote.ask("unknown") is None


def test_arguments_are_those_without_the_context(site: Fleet) -> None:
    with pytest.raises(ArgumentError, match="missing a required argument: 'path'"):
        post(site, lambda tasks: tasks.add_task(note))
    with pytest.raises(ConfigurationError, match="takes its context first"):
        task(no_context, via=arq_site.SETTINGS)
    assert [] == site.jobs()


async def no_context() -> None: ...


async def never(ctx: dict[str, Any], path: str, day: date) -> None: ...


dated: Any = task(never, via=arq_site.JsonSettings)
