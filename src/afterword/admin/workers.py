"""Workers: their states, and the jobs that they run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter, WorkerRecord
from afterword.store.protocol import Store

RUNNING = 500  # newest running jobs that are looked at


def worker_state(worker: WorkerRecord) -> str:
    """Return a worker's state in one word."""
    if not worker.alive:
        return "gone"
    return "retiring" if worker.retired else "alive"


def running_by_worker(store: Store) -> Mapping[str, Sequence[JobRecord]]:
    """Return the newest running jobs by the id of their worker, the longest running first."""
    found = store.find(Filter(state=JobState.RUNNING), RUNNING)
    jobs: dict[str, list[JobRecord]] = defaultdict(list)
    for job in sorted(found, key=lambda job: (job.started_at or job.created_at, job.id)):
        jobs[job.worker or ""].append(job)
    return jobs
