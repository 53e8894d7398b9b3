"""The workers, and the jobs that they run now."""

from collections.abc import Sequence
from dataclasses import dataclass

from afterword.admin.health import serves
from afterword.admin.summary import how_it_runs
from afterword.admin.workers import running_by_worker
from afterword.dashboard.command import command
from afterword.dashboard.view import Page, View
from afterword.model.job import JobRecord
from afterword.model.records import WorkerRecord

_WORKERS = 100  # that are shown
_JOBS = 10  # of one worker


@dataclass(frozen=True, slots=True)
class Process:
    """A worker, and some of the jobs that it runs, the longest running first."""

    worker: WorkerRecord
    jobs: Sequence[JobRecord]


def show(view: View) -> Page:
    """Show the workers that run jobs, with these jobs, and those that only store jobs."""
    workers = view.store.workers()
    running = running_by_worker(view.store)
    processes = [
        Process(each, view.all_shown(running.get(each.id, ())[:_JOBS]))
        for each in workers
        if each.concurrency or each.running
    ]
    others = [each for each in workers if not each.concurrency and not each.running]
    serving = [each for each in workers if serves(each)]
    return Page(
        template="workers.html",
        title="Workers",
        live=True,
        values={
            "processes": sorted(processes, key=_urgency)[:_WORKERS],
            "others": others[:_WORKERS],
            "more": len(processes[_WORKERS:]) + len(others[_WORKERS:]),
            "jobs": _JOBS,
            "serving": len(serving),
            "slots": sum(each.concurrency for each in serving),
            "running": sum(each.running for each in workers),
            "gone": sum(not each.alive for each in workers),
            "notes": {job.id: how_it_runs(job) for process in processes for job in process.jobs},
            "command": command("workers"),
        },
    )


def _urgency(process: Process) -> tuple[bool, bool]:
    """Sort the workers that are gone first, then those that shut down."""
    return process.worker.alive, not process.worker.retired
