"""Some experiments of `scripts/chaos`, small enough for every change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import deploy, network, people, schedules, shutdown
from chaos import server as servers
from chaos.findings import Finding
from chaos.lab import Lab
from tests.postgres import Server


@pytest.fixture
def lab(tmp_path: Path, server: Server) -> Lab:
    """A lab with its store in PostgreSQL."""
    return Lab(tmp_path, server)


@pytest.fixture(params=["sqlite", "postgres"])
def any_lab(tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    """A lab, once for each kind of store."""
    server = request.getfixturevalue("server") if request.param == "postgres" else None
    return Lab(tmp_path, server)


def measured(experiment: Callable[..., Finding], lab: Lab, **size: float) -> str:
    """Run an experiment, which must pass; returns its measurements."""
    finding = experiment(lab, **size)
    assert finding.passed, finding.measured
    return finding.measured


def test_sessions_that_are_ended_under_load_lose_nothing(lab: Lab) -> None:
    assert "0 problems" in measured(servers.end_sessions, lab, times=10)


def test_answers_to_commits_that_get_lost_double_nothing(lab: Lab) -> None:
    assert "0 extra runs" in measured(network.cut_answers, lab, cuts=10)


def test_jobs_are_found_although_no_hint_arrives(lab: Lab) -> None:
    assert "without" in measured(servers.lose_hints, lab, jobs=3)


def test_two_releases_share_a_store_while_their_processes_are_killed(any_lab: Lab) -> None:
    assert "0 problems" in measured(deploy.mix_releases, any_lab, seconds=3.0)


def test_of_two_people_who_do_the_same_one_does_it(any_lab: Lab) -> None:
    assert "0 jobs left" in measured(people.press_twice, any_lab, times=20)


def test_killed_schedulers_miss_no_occurrence_and_double_none(any_lab: Lab) -> None:
    """If any of them is killed, the others go on, because there is no leader."""
    assert "0 were created twice" in measured(schedules.kill_schedulers, any_lab, seconds=4.0)


def test_a_drain_under_load_leaves_nothing_running(any_lab: Lab) -> None:
    """This holds for jobs in the event loop, in threads and in processes."""
    found = measured(shutdown.drain_under_load, any_lab, grace=1.0, hold=1, slack=60)

    assert "0 jobs started later" in found
    assert "0 jobs left running" in found
