"""Job ids sort by time, are never the same, and are UUIDs for everyone else."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
import uuid

import pytest

from afterword.model.job import JobState, NewJob, new_id

SEEDED = """
import os, random
random.seed(1)
from afterword.model.job import new_id
ids = [new_id()]
random.seed(1)
ids.append(new_id())
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, new_id().encode())
    os._exit(0)
os.wait()
ids += [new_id(), os.read(reader, 36).decode()]
print(*(each[-12:] for each in ids))
"""


def test_an_id_is_a_uuid_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000

    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    assert before <= made.int >> 80 <= after + 1


def test_an_id_is_written_as_uuids_are() -> None:
    made = new_id()

    assert str(uuid.UUID(made)) == made


def test_ids_rise() -> None:
    ids = [new_id() for _ in range(10_000)]

    assert sorted(set(ids)) == ids


def test_ids_rise_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, now = new_id(), time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
    later = [new_id() for _ in range(100)]

    assert sorted(later) == later
    assert first < later[0]


def test_ids_of_many_threads_are_all_different() -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.extend([new_id() for _ in range(2_000)]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16_000 == len(set(ids))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_neither_a_seed_nor_a_fork_makes_the_same_ids_again() -> None:
    made = subprocess.run(
        [sys.executable, "-c", SEEDED], capture_output=True, text=True, check=True
    ).stdout.split()

    assert 4 == len(made)
    assert 4 == len(set(made))


def test_four_states_are_final() -> None:
    final = [state for state in JobState if state.final]

    done = [JobState.COMPLETED, JobState.HANDED_OVER]
    assert [*done, JobState.FAILED, JobState.CANCELLED] == final
    assert done == [state for state in JobState if state.succeeded]


def test_a_job_is_a_value() -> None:
    job = NewJob(id=new_id(), task="app:send")

    assert job == dataclasses.replace(job)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.task = "app:other"  # type: ignore[misc]
