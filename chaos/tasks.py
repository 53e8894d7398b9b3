"""Faults of tasks that their worker must survive: F9 to F11."""

from collections.abc import Iterable, Sequence

from afterword import JobRecord, JobState
from chaos.findings import Finding
from chaos.lab import Lab
from tests.crash.fleet import Clients, Fleet
from tests.crash.ledger import Line, number_of
from tests.helpers import wait_until

# The same as in tests/crash/tasks.py, which only a server can import.
RAISED = (
    "RecursionError",
    "MemoryError",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "CancelledError",
)
LIMIT = 1.0  # seconds
CANCEL_WITHIN = 1.0  # seconds that an `async def` task has to end once its time is over
SLACK = 0.5  # seconds
PROCESS_STARTS_WITHIN = 3.0  # seconds, before which the time of its task does not begin
PAST_LIMIT = 6.0  # seconds that tasks with a limit of one second take
CONCURRENCY = 2


def raise_in_tasks(lab: Lab, *, neighbours: int = 20) -> Finding:
    """F9: tasks raise unexpected exceptions."""
    fleet, clients = lab.fleet(1, ORDER="concurrent", CONCURRENCY=8), Clients(seconds=0.0)
    (server,) = fleet.servers
    with fleet.running():
        with server.client() as client:
            raising = [
                number
                for task in ("raise_in_loop", "raise_in_thread", "raise_apart")
                for number in clients.send(client, len(RAISED), task=task)
            ]
            clients.send(client, neighbours, task="work", seconds=0.2)
        fleet.wait_finished(timeout=60)
        alive = server.process.poll() is None
        failed = [each for each in fleet.records() if number_of(each) in raising]
        verdict = fleet.verdict(clients, poison=raising)
    well = [each for each in failed if _failed_as_its_policy_says(each)]
    return Finding(
        name="F9",
        store=lab.kind,
        question=f"tasks that raise {', '.join(RAISED)}; `async def`, `def`, in a process; each"
        f" to be tried again once; beside {neighbours} others",
        required="each fails after its second attempt and says why; the worker lives, the others"
        " complete",
        measured=f"{len(well)} of {len(failed)} failed like that; the worker"
        f" {'lives' if alive else 'is dead'}; {len(verdict.problems)} problems"
        + _some(verdict.problems),
        passed=len(well) == len(raising) and alive and not verdict.problems,
    )


def _failed_as_its_policy_says(record: JobRecord) -> bool:
    raised = RAISED[number_of(record) % len(RAISED)]
    known = (record.state, record.attempt, record.failures)
    return known == (JobState.FAILED, 2, 1) and raised in (record.error or "")


def ignore_cancelling(lab: Lab) -> Finding:
    """F10: an `async def` task past its limit swallows each CancelledError."""
    fleet, clients = lab.fleet(1, ORDER="concurrent", CONCURRENCY=CONCURRENCY), Clients()
    with fleet.running():
        record, after = _outlast(fleet, clients, "ignore_cancelling")
        lines = fleet.ledger.lines()
        verdict = fleet.verdict(clients, poison=[0])
    end = next(place for place, line in enumerate(lines) if _is(line, 0, "finished"))
    before = _most_at_once(lines[:end])
    later = _most_at_once(line for line in lines[end:] if line.number)
    seconds = _seconds(record)
    return Finding(
        name="F10",
        store=lab.kind,
        question=f"an `async def` task with a limit of {LIMIT:g} s ignores for {PAST_LIMIT:g} s"
        f" that it is cancelled; {CONCURRENCY} slots, other jobs meanwhile and afterwards",
        required=f"it fails within {LIMIT + CANCEL_WITHIN:g} s; it keeps its slot until it ends,"
        " and no other",
        measured=f"{record.state.value} after {seconds:.1f} s; until it ended, at most {before}"
        f" ran at once, it among them; afterwards {later}; {len(verdict.problems)} problems"
        + _some(verdict.problems),
        passed=record.state is JobState.FAILED
        and seconds < LIMIT + CANCEL_WITHIN + SLACK
        and after == record
        and before == later == CONCURRENCY
        and not verdict.problems,
    )


def outlast_limits(lab: Lab) -> Finding:
    """F11: a thread past its limit goes on; a process can be killed."""
    thread = _outlast_limit(lab.room("thread"), "outlast_limit")
    apart = _outlast_limit(lab.room("apart"), "outlast_limit_apart")
    return Finding(
        name="F11",
        store=lab.kind,
        question=f"a `def` task with a limit of {LIMIT:g} s takes {PAST_LIMIT:g} s, in a thread and"
        f" in a process; {CONCURRENCY} slots, other jobs meanwhile",
        required="it fails at its limit and its slot is free; a late result is dropped, the process"
        " is killed; no second run",
        measured=f"thread: {thread}; process: {apart}",
        passed=thread == _limited(returned=1) and apart == _limited(returned=0),
    )


def _limited(*, returned: int) -> str:
    others = CONCURRENCY
    return (
        f"failed in time, then {others} others at once; returned {returned} times later, which"
        " changed nothing; 1 run, 0 problems"
    )


def _outlast_limit(lab: Lab, task: str) -> str:
    fleet, clients = lab.fleet(1, ORDER="concurrent", CONCURRENCY=CONCURRENCY), Clients()
    with fleet.running():
        record, after = _outlast(fleet, clients, task)
        lines = fleet.ledger.lines()
        verdict = fleet.verdict(clients, poison=[0])
    seconds, apart = _seconds(record), task.endswith("apart")
    slack = SLACK + (PROCESS_STARTS_WITHIN if apart else 0.0)
    in_time = "in time" if seconds < LIMIT + slack else f"after {seconds:.1f} s"
    returned = sum(_is(line, 0, "finished") for line in lines)
    ended = next(place for place, line in enumerate(lines) if _is(line, 0, "accepted"))
    others = _most_at_once(line for line in lines[ended:] if line.number)
    changed = "nothing" if after == record else f"the record to {after}"
    runs = sum(_is(line, 0, "started") for line in lines)
    return (
        f"{record.state.value} {in_time}, then {others} others at once; returned {returned} times"
        f" later, which changed {changed}; {runs} run, {len(verdict.problems)} problems"
        + _some(verdict.problems)
    )


def _outlast(fleet: Fleet, clients: Clients, task: str) -> tuple[JobRecord, JobRecord]:
    """Let a job run past its limit; returns its record at its end, and after its code's end."""
    (job,) = fleet.begin(clients, task, seconds=PAST_LIMIT)
    with fleet.servers[0].client() as client:
        wait_until(lambda: fleet.record(job).state.final, description="its time is over")
        record = fleet.record(job)
        clients.send(client, 10, task="work", seconds=0.2)
        fleet.wait_finished(timeout=60)
        wait_until(
            lambda: task.endswith("apart") or 0 in fleet.ledger.numbers("finished"),
            description="its code has ended",
        )
        clients.send(client, 10, task="work", seconds=0.2)
        fleet.wait_finished(timeout=60)
    return record, fleet.record(job)


def _seconds(record: JobRecord) -> float:
    if record.started_at is None or record.finished_at is None:
        raise AssertionError(f"has not ended: {record}")
    return (record.finished_at - record.started_at).total_seconds()


def _most_at_once(lines: Iterable[Line]) -> int:
    """Return the largest number of jobs that ran at the same time."""
    running: set[int] = set()
    most = 0
    for line in lines:
        if line.event == "started":
            running.add(line.number)
        elif line.event == "finished":
            running.discard(line.number)
        most = max(most, len(running))
    return most


def _is(line: Line, number: int, event: str) -> bool:
    return (line.number, line.event) == (number, event)


def _some(problems: Sequence[str]) -> str:
    return "".join(f"; {text}" for text in problems[:3])
