"""Real processes are killed: acknowledged jobs run, and no job ends twice.

Tasks and stores of the served application (`tests/crash/app.py`) note their steps in a ledger
outside of the store. The checker (`tests/crash/ledger.py`) compares it with the answers to clients
and with the jobs in the store. `scripts/chaos` runs the same faults in larger numbers.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from afterword import JobRecord, JobState
from tests.crash import faults
from tests.crash.fleet import Clients, Fleet
from tests.crash.ledger import Ledger, check
from tests.helpers import wait_until
from tests.values import AT, a_record

# ---------------------------------------------------------------------- faults under load


def test_killed_workers_lose_nothing(tmp_path: Path, store_url: str) -> None:
    """Every acknowledged job runs, and runs again only if its process died."""
    result = faults.kill_workers(tmp_path, store_url, jobs=400, kills=3)

    assert [] == result.verdict.problems
    assert 400 == result.verdict.acked
    # The jobs in the 8 slots of a process, and as many with outcomes not yet in the store.
    assert result.verdict.extra_runs <= result.hits * 2 * 8
    assert 0 == result.verdict.poisoned
    assert "database is locked" not in result.logs


def test_a_killed_web_process_keeps_its_word(tmp_path: Path, store_url: str) -> None:
    """After a restart the tasks of every 2xx run; no request is stored in part."""
    result = faults.kill_web_process(tmp_path, store_url, rounds=3)

    assert [] == result.verdict.problems
    assert result.verdict.acked >= 3 * 3


@pytest.mark.parametrize("point", faults.POINTS)
def test_a_crash_between_two_owners_of_a_job(tmp_path: Path, store_url: str, point: str) -> None:
    """A crash at any point where a job changes hands neither loses nor doubles it."""
    result = faults.crash_at(tmp_path, store_url, point, jobs=3, crashes=2)

    assert [] == result.verdict.problems
    assert result.verdict.stored > 0


def test_a_stopped_worker_cannot_end_what_it_has_lost(tmp_path: Path, store_url: str) -> None:
    """After SIGCONT the fence refuses outcomes of jobs that others took over."""
    result = faults.stop_workers(tmp_path, store_url, jobs=300, stops=2)

    assert [] == result.verdict.problems
    assert "lost_lease" in result.logs
    assert result.verdict.extra_runs > 0


def test_restarts_during_work_are_no_losses(tmp_path: Path, store_url: str) -> None:
    """A process that is asked to stop releases its jobs; no job counts as lost."""
    result = faults.restart_workers(tmp_path, store_url, jobs=100, restarts=2)

    assert [] == result.verdict.problems
    assert "recovered" not in result.logs
    assert result.verdict.extra_runs > 0


def test_four_processes_share_one_store(tmp_path: Path, store_url: str) -> None:
    """No process fails because of the locks of the others, and each job runs once."""
    fleet = Fleet(tmp_path, 4, url=store_url)
    clients = Clients(seconds=0.0)
    with fleet.running():
        with clients.loading(fleet.servers, jobs=2):
            wait_until(lambda: len(clients.acked) >= 60, description="60 orders")
        fleet.wait_finished(timeout=60)
        verdict = fleet.verdict(clients)

    assert [] == verdict.problems
    assert 0 == verdict.extra_runs
    assert 4 == len({line.pid for line in fleet.ledger.lines("started")})
    assert "locked" not in fleet.logs()


# ---------------------------------------------------------------------- one job, one fault


@pytest.fixture
def fleet(tmp_path: Path, store_url: str, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """The servers that the test's `fleet` mark asks for."""
    size, environment = request.param
    with Fleet(tmp_path, size, url=store_url, **environment).running() as fleet:
        yield fleet


def servers(size: int, **environment: object) -> pytest.MarkDecorator:
    """A running fleet, as the test's mark asks for."""
    return pytest.mark.parametrize("fleet", [(size, environment)], indirect=True, ids=[""])


@servers(2, LEASE=60)
def test_a_dead_process_is_noticed_at_once(fleet: Fleet) -> None:
    """The other process takes over long before the lease ends, because the lock is free."""
    killed, other = fleet.servers
    clients = Clients()
    (job,) = fleet.begin(clients, "work", seconds=1.0)

    fleet.kill(killed)
    fleet.wait_finished(timeout=60)

    assert [] == fleet.verdict(clients).problems
    assert [(1, killed.process.pid), (2, other.process.pid)] == [
        (line.attempt, line.pid) for line in fleet.ledger.lines("started")
    ]
    assert (2, 1) == (fleet.record(job).attempt, fleet.record(job).lost)


@servers(1, LEASE=2, ORDER="concurrent")
def test_a_task_that_kills_its_worker_fails_in_the_end(fleet: Fleet) -> None:
    """Three lost workers make a job poison; the jobs beside it complete."""
    server = fleet.servers[0]
    clients = Clients()
    (poison,) = fleet.begin(clients, "kill_neighbours", seconds=0.02)
    neighbours = fleet.begin(clients, "work", seconds=0.3, jobs=5)

    for _ in range(3):
        wait_until(lambda: server.process.poll() is not None, description="the worker dies")
        fleet.disturbed.add(server.process.pid)
        fleet.start(server, wait=False)
    fleet.wait_finished(timeout=60)

    record = fleet.record(poison)
    assert [] == fleet.verdict(clients, poison=[0]).problems
    assert (JobState.FAILED, 3, 3) == (record.state, record.attempt, record.lost)
    assert "poison" in (record.error or "")
    assert {JobState.COMPLETED} == {fleet.record(job).state for job in neighbours}


@servers(2, LEASE=1)
def test_a_task_may_last_longer_than_its_lease(fleet: Fleet) -> None:
    """The lease is renewed from a thread, also while a task blocks the event loop."""
    clients = Clients()
    jobs = [
        *fleet.begin(clients, "work_in_thread", seconds=3.0),
        *fleet.begin(clients, "work", seconds=3.0),
        *fleet.begin(clients, "block", seconds=3.0),
    ]

    fleet.wait_finished(timeout=60)

    verdict = fleet.verdict(clients)
    assert [] == verdict.problems
    assert 3 == verdict.runs
    assert {0} == {fleet.record(job).lost for job in jobs}


def test_a_task_of_a_newer_release_waits_for_it(tmp_path: Path, store_url: str) -> None:
    """A rolling deploy: a worker without the new task does not run its jobs."""
    fleet = Fleet(tmp_path, 0, url=store_url)
    clients = Clients(seconds=0.0, task="work")
    web, old, new = fleet.server(WORKER=0), fleet.server(WITHOUT="work"), fleet.server()
    with fleet.running():
        fleet.start(web, old)
        with web.client() as client:
            clients.send(client, jobs=3)
        wait_until(lambda: "put_back" in old.log.read_text(), description="the old one says no")
        wait_until(
            lambda: fleet.store.count()[JobState.QUEUED] == 3, description="the jobs are back"
        )
        fleet.start(new)
        fleet.wait_finished(timeout=60)

        assert [] == fleet.verdict(clients).problems
        assert {(1, 0, 0)} == {_counts(record) for record in fleet.records()}


# ---------------------------------------------------------------------- shutdown


@servers(1, GRACE=20)
def test_a_shutdown_lets_running_tasks_finish(fleet: Fleet) -> None:
    """Within the grace time, `async def` and `def` alike."""
    clients = Clients()
    jobs = [*fleet.begin(clients, "work", 0.7), *fleet.begin(clients, "work_in_thread", 0.7)]

    fleet.servers[0].stop()

    assert [] == fleet.verdict(clients).problems
    assert {(JobState.COMPLETED, 1)} == {
        (record.state, record.attempt) for record in map(fleet.record, jobs)
    }


@servers(1, GRACE=0.1)
def test_a_shutdown_gives_back_what_takes_longer(fleet: Fleet) -> None:
    """An `async def` task is cancelled, queued again and run again: interrupted, not lost."""
    server = fleet.servers[0]
    clients = Clients()
    (job,) = fleet.begin(clients, "work", seconds=2.0)

    server.stop()
    given_back = fleet.record(job)
    fleet.start(server)
    fleet.wait_finished(timeout=60)

    assert (JobState.QUEUED, 1, 1) == (
        given_back.state,
        given_back.attempt,
        given_back.interrupted,
    )
    assert [] == fleet.verdict(clients).problems
    assert (2, 1, 0) == _counts(fleet.record(job))


@servers(1, GRACE=0.1, LEASE=60)
def test_a_thread_that_outlives_its_process_is_recovered(fleet: Fleet) -> None:
    """A `def` task cannot be stopped: its process ends anyway, and the next one runs it."""
    server = fleet.servers[0]
    clients = Clients()
    (job,) = fleet.begin(clients, "work_in_thread", seconds=2.0)

    fleet.disturbed.add(server.process.pid)
    server.stop()
    left_behind = fleet.record(job)
    fleet.start(server)
    fleet.wait_finished(timeout=60)

    assert JobState.RUNNING is left_behind.state
    assert [] == fleet.verdict(clients).problems
    assert (2, 1, 0) == _counts(fleet.record(job))


def _counts(record: JobRecord) -> tuple[int, int, int]:
    return record.attempt, record.interrupted, record.lost


# ---------------------------------------------------------------------- the checker

COMPLETED = a_record(
    id="0",
    task="tests.crash.app:work",
    arguments='{"number": 0}',
    state=JobState.COMPLETED,
    attempt=1,
    worker="w",
    request_id="0",
    started_at=AT,
    finished_at=AT,
)
RUN = ((1, "started"), (1, "finished"), (1, "accepted"))
AGAIN = ((2, "started"), (2, "finished"), (2, "accepted"))


@pytest.mark.parametrize(
    ("record", "events", "problem"),
    [
        (COMPLETED, RUN, None),
        (None, (), "the store does not know it"),
        (COMPLETED, (), "never ran to its end"),
        (replace(COMPLETED, state=JobState.FAILED), RUN, "is failed and not completed"),
        (replace(COMPLETED, state=JobState.RUNNING), RUN, "has not ended"),
        (COMPLETED, (*RUN, *AGAIN), "was completed twice"),
        (COMPLETED, (*RUN, (1, "started")), "ran as attempts [1, 1]"),
        (COMPLETED, ((1, "started"), *AGAIN), "only 1 are on record"),
        (replace(COMPLETED, attempt=2), ((1, "started"), *AGAIN), "0 lost workers"),
        (replace(COMPLETED, attempt=2, lost=1), (*RUN, (2, "started")), "ended by attempt [1]"),
        (replace(COMPLETED, attempt=2, lost=1), ((1, "started"), *AGAIN), "in a healthy process"),
    ],
)
def test_the_checker_notices(
    tmp_path: Path,
    record: JobRecord | None,
    events: tuple[tuple[int, str], ...],
    problem: str | None,
) -> None:
    """A check must be able to fail: these are the problems that it finds."""
    ledger = Ledger(tmp_path / "ledger")
    for attempt, event in events:
        ledger.write(0, attempt, event)

    problems = check(ledger, [record] if record else [], acked=[[0]]).problems

    assert bool(problem) == bool(problems)
    assert problem is None or any(problem in text for text in problems)


def test_the_checker_notices_half_a_request(tmp_path: Path) -> None:
    """It also notices when the client never got an answer."""
    ledger = Ledger(tmp_path / "ledger")

    problems = check(ledger, [COMPLETED], acked=[], sent=[[0, 1]]).problems

    assert ["of the request for [0, 1] only [0] were stored"] == problems
