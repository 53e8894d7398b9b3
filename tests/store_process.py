"""A process that uses a store; `tests/store/test_sqlite.py` starts several at a time.

python tests/store_process.py work sqlite:///jobs.db 3
python tests/store_process.py hold jobs.db 30
python tests/store_process.py open stores/ 1795312000.0
python tests/store_process.py act jobs.db 1795312000.0
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, held_claim
from afterword.store.sqlite import SQLiteStore

STORES = 10  # opened by `open`
STEP = 0.05  # seconds between them
ACT_FOR = 1.5  # seconds for one verb of `act`


def work(url: str, seconds: float) -> None:
    """Add, claim and settle as fast as possible; prints the added and the completed jobs."""
    store, worker = open_store(url), f"worker-{os.getpid()}"
    added: list[str] = []
    took: list[float] = []
    completed: list[str] = []
    store.open()
    store.join(worker, lease=3600.0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        jobs = [NewJob(id=new_id(), task="app:send") for _ in range(3)]
        begin = time.monotonic()
        store.add(jobs)
        took.append(time.monotonic() - begin)
        added += [job.id for job in jobs]
        claims = store.claim(worker, ["default"], 3)
        accepted = store.settle([Settlement(each, Completed()) for each in claims])
        completed += [each.id for each, ours in zip(claims, accepted, strict=True) if ours]
        store.recover(10, lease=3600.0)
        store.count()
    store.leave(worker)
    store.close()
    print(json.dumps({"added": added, "completed": completed, "took": took}))


def hold(path: str, lease: float) -> None:
    """Join, hold a job, print its id, and never renew the lease."""
    store = SQLiteStore(Path(path))
    store.open()
    store.join("holder", lease)
    job = NewJob(id=new_id(), task="app:send", held=True)
    store.add([job], held_by="holder")
    print(held_claim(job, "holder", 0.0).id, flush=True)
    time.sleep(60)


def open_new(folder: str, begin: float) -> None:
    """Open one new file after the other, each at the same moment as all other processes."""
    for number in range(STORES):
        while time.time() < begin + number * STEP:
            pass
        store = SQLiteStore(Path(folder) / f"{number}.db")
        store.open()
        store.add([NewJob(id=new_id(), task="app:send")])
        store.close()


def act(path: str, begin: float) -> None:
    """Call verbs for every job at the same moment as all other processes; prints the answers."""
    store = SQLiteStore(Path(path))
    store.open(create=False)
    ids = sorted(each.id for each in store.find(limit=1_000))
    verbs: dict[str, Callable[[str], Sequence[bool]]] = {
        "cancel": lambda job_id: store.cancel([job_id], "no"),
        "retry": lambda job_id: store.retry([job_id]),
        "delete": lambda job_id: store.delete([job_id]),
    }
    answers: dict[str, list[bool]] = {}
    for number, (name, verb) in enumerate(verbs.items()):
        while time.time() < begin + number * ACT_FOR:
            pass
        answers[name] = [answer for job_id in ids for answer in verb(job_id)]
    store.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    command = {"work": work, "hold": hold, "open": open_new, "act": act}[sys.argv[1]]
    command(sys.argv[2], float(sys.argv[3]))
