"""Faults of load: many processes on one store, an old snapshot, a herd of workers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import apsw
import psycopg

from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.protocol import Settlement, Store
from chaos.findings import Finding
from chaos.lab import SQLITE, Lab
from chaos.storm import wait_ended
from tests.crash.fleet import Clients, Fleet
from tests.helpers import ROOT

LOG_LIMIT = 64_000_000  # bytes


def many_processes(lab: Lab, *, processes: int = 8, seconds: float = 60.0) -> Finding:
    """F19: several processes add, claim and settle as fast as they can."""
    command = [sys.executable, str(ROOT / "tests" / "store_process.py"), "work"]
    workers = [
        subprocess.Popen(  # noqa: S603 - our own
            [*command, lab.url, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(processes)
    ]
    with ThreadPoolExecutor(processes) as readers:
        reading = [readers.submit(worker.communicate) for worker in workers]
        log = _largest_log(lab, reading)
    answers = [each.result() for each in reading]
    failed = [error.decode()[-300:] for _, error in answers if error]
    reports = [json.loads(out) for out, _ in answers if out]
    completed = [job_id for report in reports for job_id in report["completed"]]
    took = [seconds for report in reports for seconds in report["took"]]
    p99 = _p99(took)
    return Finding(
        name="F19",
        store=lab.kind,
        question=f"{processes} processes add, claim and settle at full speed, {seconds:.0f} s",
        required="no error, no job twice, p99 of an add below 250 ms; SQLite's log below 64 MB",
        measured=f"{len(completed):,} jobs, {len(completed) - len(set(completed))} twice, p99"
        f" {p99 * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms, {len(failed)} processes failed"
        + (f", log at most {log / 1e6:.1f} MB" if lab.kind == SQLITE else "")
        + "".join(f"; {text}" for text in failed[:2]),
        passed=not failed
        and len(reports) == processes
        and len(completed) == len(set(completed))
        and p99 < 0.25
        and log < LOG_LIMIT,
    )


def _largest_log(lab: Lab, reading: Sequence[Future[tuple[bytes, bytes]]]) -> int:
    """Return the largest size of SQLite's log until these processes have ended."""
    largest, file = 0, lab.folder / "jobs.db-wal"
    while not all(each.done() for each in reading):
        if file.exists():
            largest = max(largest, file.stat().st_size)
        time.sleep(0.2)
    return largest


def old_snapshot(lab: Lab, *, seconds: float = 60.0) -> Finding:
    """F20: a reader keeps one transaction open for a minute while jobs run."""
    store = lab.store()
    store.open()
    store.join("ann", 3600.0)
    baseline = _claims(store, seconds / 6)
    with _snapshot(lab):
        during = _claims(store, seconds)
        size = _size(lab)
    last = during[-len(baseline) :]
    after = _claims(store, seconds / 6)
    store.close()
    slower = _p99(last) / _p99(baseline)
    return Finding(
        name="F20",
        store=lab.kind,
        question=f"a snapshot is held for {seconds:.0f} s while {len(during) * 20:,} jobs run",
        required="p99 of a claim below 5 times that without, or below 50 ms",
        measured=f"p99 of a claim {_p99(baseline) * 1000:.1f} ms before, {_p99(last) * 1000:.1f} ms"
        f" at the end of it ({slower:.1f} times), {_p99(after) * 1000:.1f} ms afterwards; {size}",
        passed=slower < 5 or _p99(last) < 0.05,
    )


def _claims(store: Store, seconds: float) -> list[float]:
    """Add, claim and settle 20 jobs ten times a second; returns the seconds of each claim."""
    took = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        due = time.monotonic() + 0.1
        store.add([NewJob(id=new_id(), task="app:send") for _ in range(20)])
        begin = time.monotonic()
        claims = store.claim("ann", ["default"], 20)
        took.append(time.monotonic() - begin)
        store.settle([Settlement(claim, Completed()) for claim in claims])
        time.sleep(max(0.0, due - time.monotonic()))
    return took


@contextmanager
def _snapshot(lab: Lab) -> Iterator[None]:
    """Keep a read transaction open."""
    if lab.kind == SQLITE:
        reader = apsw.Connection(str(lab.folder / "jobs.db"))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM afterword_jobs").fetchall()
        yield
        reader.close()
    else:
        with psycopg.connect(lab.url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM afterword.jobs")
            yield


def _size(lab: Lab) -> str:
    if lab.kind == SQLITE:
        return f"log {(lab.folder / 'jobs.db-wal').stat().st_size / 1e6:.1f} MB"
    with psycopg.connect(lab.url) as connection:
        row = connection.execute("SELECT pg_table_size('afterword.jobs')").fetchone()
    return f"hot table {(row[0] if row else 0) / 1e6:.1f} MB"


def thundering_herd(lab: Lab, *, jobs: int = 20_000, workers: int = 12) -> Finding:
    """F39: many jobs become due at one moment and wake up many idle workers."""
    few = _drain(lab.room("few"), jobs, 3)
    many = _drain(lab.room("many"), jobs, workers)
    return Finding(
        name="F39",
        store=lab.kind,
        question=f"{jobs:,} jobs become due at one moment before {workers} idle processes, and"
        " before 3 (2 cores)",
        required="no error; the herd takes less than twice as long as the few",
        measured=f"{workers} processes: {many.seconds:.1f} s, idle before at {many.idle:.0%} of a"
        f" core; 3: {few.seconds:.1f} s, idle at {few.idle:.0%}; {many.errors + few.errors} errors,"
        f" {many.again + few.again} jobs run again",
        passed=many.seconds < 2 * few.seconds
        and not many.errors + few.errors
        and not many.again + few.again,
    )


@dataclass(frozen=True, slots=True)
class _Drained:
    seconds: float
    idle: float  # cores that all workers together use while nothing is due
    errors: int
    again: int


def _drain(lab: Lab, jobs: int, workers: int) -> _Drained:
    fleet = lab.fleet(workers, ORDER="concurrent", CONCURRENCY=8)
    with fleet.running():
        due_at = time.time() + 15.0
        _add(fleet, jobs, due_at)
        idle = _cores(fleet, 5.0)
        time.sleep(max(0.0, due_at - time.time()))
        began_at = time.monotonic()
        wait_ended(fleet, timeout=300)
        seconds = time.monotonic() - began_at
        logs = fleet.logs()
        errors = logs.count("claim_failed") + logs.count("step_failed") + logs.count("Traceback")
        return _Drained(seconds, idle, errors, fleet.verdict(Clients()).extra_runs)


def _add(fleet: Fleet, jobs: int, due_at: float) -> None:
    for begin in range(0, jobs, 1_000):
        fleet.store.add(
            [
                NewJob(
                    id=new_id(),
                    task="tests.crash.tasks:work_in_thread",
                    arguments=json.dumps({"number": number, "seconds": 0.0}),
                    run_at=due_at,
                )
                for number in range(begin, begin + 1_000)
            ]
        )


def _cores(fleet: Fleet, seconds: float) -> float:
    """Return the number of cores that the servers use now."""
    before = _cpu_seconds(fleet)
    time.sleep(seconds)
    return (_cpu_seconds(fleet) - before) / seconds


def _cpu_seconds(fleet: Fleet) -> float:
    ticks = 0
    for server in fleet.servers:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100)[-1]
