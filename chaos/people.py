"""Experiment F49: two people act on the same job at the same time."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from afterword.model.job import NewJob, new_id
from afterword.store.protocol import Store
from chaos.findings import Finding
from chaos.lab import Lab

Deed = Callable[[Store, str], bool]


def press_twice(lab: Lab, *, times: int = 100) -> Finding:
    """F49: two people cancel, retry and delete the same job at the same moment."""
    stores = [lab.store(), lab.store()]
    for store in stores:
        store.open()
    deeds: dict[str, Deed] = {
        "cancel": lambda store, job_id: store.cancel([job_id], "enough")[0],
        "retry": lambda store, job_id: store.retry([job_id])[0],
        "delete": lambda store, job_id: store.delete([job_id])[0],
    }
    effects = dict.fromkeys(deeds, 0)
    wrong = 0
    with ThreadPoolExecutor(len(stores)) as people:
        for _ in range(times):
            job = NewJob(id=new_id(), task="app:send")
            stores[0].add([job])
            for name, deed in deeds.items():
                answers = _together(people, stores, deed, job.id)
                effects[name] += sum(answers)
                wrong += sum(answers) != 1
    left = sum(stores[0].count().values())
    for store in stores:
        store.close()
    return Finding(
        name="F49",
        store=lab.kind,
        question=f"two people cancel, retry, delete the same job at the same moment, {times} times",
        required="each time one of them does it, and the other one is told no",
        measured=", ".join(f"{count} x {name}" for name, count in effects.items())
        + f"; {wrong} times not exactly one of two; {left} jobs left",
        passed=wrong == 0 and left == 0,
    )


def _together(
    people: ThreadPoolExecutor, stores: Sequence[Store], deed: Deed, job_id: str
) -> list[bool]:
    barrier = threading.Barrier(len(stores))

    def press(store: Store) -> bool:
        barrier.wait()
        return deed(store, job_id)

    return list(people.map(press, stores))
