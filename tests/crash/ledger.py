"""The ledger: the steps that tasks and store of a served process note, outside of the store.

Every line is `number attempt pid event`, written by one O_APPEND write, so that a process can be
killed at any moment and processes can share the file. `number` is the job's own argument; that of a
job of a schedule is made of its occurrence and its schedule.

- `started`, `finished`: written by the task, as its first and last step.
- `accepted`: written by the store, after the commit that ended the job.
- `returned`: the same for an attempt whose job goes on: a shutdown interrupted it, or it failed and
  is to be tried again.
- `created`: written by the store, after the commit that created the job of an occurrence.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from afterword import JobRecord, JobState
from afterword.store.protocol import MAX_LOST


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger."""

    number: int
    attempt: int
    pid: int
    event: str


class Ledger:
    """A file to which many processes append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, number: int, attempt: int, event: str, pid: int | None = None) -> None:
        """Append a line of a process, by default of this one."""
        line = f"{number} {attempt} {pid or os.getpid()} {event}\n".encode()
        descriptor = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def lines(self, event: str | None = None) -> list[Line]:
        """Return the lines so far, in the order of writing."""
        if not self.path.exists():
            return []
        found = (line.split() for line in self.path.read_text().splitlines())
        lines = [
            Line(int(number), int(attempt), int(pid), what) for number, attempt, pid, what in found
        ]
        return [line for line in lines if event in (None, line.event)]

    def numbers(self, event: str) -> set[int]:
        """Return the jobs that have this event."""
        return {line.number for line in self.lines(event)}


class Stored(Protocol):
    """A job, or a claim to one."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def arguments(self) -> str:
        """Its arguments, as JSON."""


def number_of(job: Stored) -> int:
    """Return the number in a stored job's arguments."""
    arguments: Mapping[str, int] = json.loads(job.arguments)
    lane = arguments.get("lane")
    return arguments["number"] if lane is None else occurrence(job.id, lane)


def is_occurrence(job: Stored) -> bool:
    """True if a schedule has created this job."""
    return '"lane"' in job.arguments


def occurrence(job_id: str, lane: int) -> int:
    """Return the number of a schedule's job: 21 is lane 1, two seconds after 1970."""
    return due_at(job_id) * 10 + lane


def due_at(job_id: str) -> int:
    """Return the second since 1970 for which a job was created: its id begins with it."""
    return int(job_id.replace("-", "")[:12], 16) // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The checker's result; `problems` is empty if every promise was kept."""

    acked: int
    stored: int
    runs: int
    extra_runs: int
    poisoned: int
    problems: Sequence[str]


def check(
    ledger: Ledger,
    records: Iterable[JobRecord],
    *,
    acked: Collection[Sequence[int]],
    sent: Collection[Sequence[int]] = (),
    disturbed: Collection[int] = (),
    poison: Collection[int] = (),
) -> Verdict:
    """Compare answers to clients, notes of tasks and stores, and the jobs in the store.

    Args:
        ledger: the notes.
        records: every job of the store.
        acked: the numbers of each request that got a 2xx.
        sent: the numbers of each request, answered or not.
        disturbed: the process ids that were killed or stopped.
        poison: the numbers that must fail.
    """
    by_number = {number_of(record): record for record in records}
    lines: defaultdict[int, list[Line]] = defaultdict(list)
    for line in ledger.lines():
        lines[line.number].append(line)
    problems = [
        *_lost(by_number, lines, acked, poison),
        *_half_stored(by_number, sent),
        *(text for record in by_number.values() for text in _wrong_count(record)),
        *(text for number in lines for text in _wrong_runs(lines[number], by_number.get(number))),
        *(text for number in lines for text in _unexplained(lines[number], disturbed)),
    ]
    started = Counter(line.number for line in ledger.lines("started"))
    return Verdict(
        acked=sum(map(len, acked)),
        stored=len(by_number),
        runs=started.total(),
        extra_runs=started.total() - len(started),
        poisoned=sum(map(_is_poison, by_number.values())),
        problems=problems,
    )


def _is_poison(record: JobRecord) -> bool:
    return record.state is JobState.FAILED and record.lost >= MAX_LOST


def _lost(
    records: Mapping[int, JobRecord],
    lines: Mapping[int, Sequence[Line]],
    acked: Collection[Sequence[int]],
    poison: Collection[int],
) -> Iterable[str]:
    """Check that every acknowledged job has run to its end and is recorded as such."""
    for number in (number for request in acked for number in request):
        record = records.get(number)
        expected = JobState.FAILED if number in poison else JobState.COMPLETED
        if record is None:
            yield f"{number} was acknowledged, but the store does not know it"
        elif record.state is not expected:
            yield f"{number} is {record.state} and not {expected}: {record.error}"
        elif number not in poison and "finished" not in {
            line.event for line in lines.get(number, ())
        }:
            yield f"{number} is on record as completed, but never ran to its end"


def _half_stored(
    records: Mapping[int, JobRecord], sent: Collection[Sequence[int]]
) -> Iterable[str]:
    """Check that the jobs of one request are stored together or not at all."""
    for request in sent:
        stored = [number for number in request if number in records]
        if stored and len(stored) < len(request):
            yield f"of the request for {list(request)} only {stored} were stored"


def _wrong_count(record: JobRecord) -> Iterable[str]:
    """Check that each attempt after the first has a cause on record."""
    number = number_of(record)
    if not record.state.final:
        yield f"{number} has not ended: {record.state}, attempt {record.attempt}"
        return
    earlier = record.lost + record.interrupted + record.failures
    if record.attempt != earlier + (0 if _is_poison(record) else 1):
        yield (
            f"{number} ended with attempt {record.attempt}, but {record.lost} lost workers,"
            f" {record.interrupted} interruptions and {record.failures} failures are on record"
        )


def _wrong_runs(lines: Sequence[Line], record: JobRecord | None) -> Iterable[str]:
    """Check that attempt numbers rise from run to run, and that at most one run is accepted."""
    number = lines[0].number
    attempts = [line.attempt for line in lines if line.event == "started"]
    if attempts != sorted(set(attempts)):
        yield f"{number} ran as attempts {attempts}"
    accepted = [line.attempt for line in lines if line.event == "accepted"]
    if len(accepted) > 1:
        yield f"{number} was completed twice"
    if record is not None and accepted not in ([], [record.attempt]):
        yield f"{number} was ended by attempt {accepted}, but {record.attempt} had been given out"
    if record is None:
        yield f"{number} ran, but the store does not know it"
    elif attempts and attempts[-1] > record.attempt:
        yield f"{number} ran as attempt {attempts[-1]}, but only {record.attempt} are on record"


def _unexplained(lines: Sequence[Line], disturbed: Collection[int]) -> Iterable[str]:
    """Check that a run without an end belongs to a process that was killed or stopped."""
    ends = ("accepted", "returned")
    ended = {(line.attempt, line.pid) for line in lines if line.event in ends}
    for line in lines:
        run = (line.attempt, line.pid)
        if line.event == "started" and run not in ended and line.pid not in disturbed:
            yield f"{line.number} ran as attempt {line.attempt} in a healthy process, to no end"
