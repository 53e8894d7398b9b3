"""The depth and age of queues as JSON, for what starts and stops workers."""

from collections.abc import Sequence
from typing import Any

from afterword.exporter.gauges import Gauges, counts_of
from afterword.model.records import QueueRecord


def depth(gauges: Gauges, queue: str | None = None) -> dict[str, Any]:
    """Return the numbers of all queues together, and of each; or those of one queue.

    Of a paused queue only the running jobs count: no worker would take the others.
    """
    known = gauges.queues()
    if queue is not None:
        return _for_workers(gauges, [each for each in known if each.name == queue])
    workers = gauges.workers()
    return {
        **_for_workers(gauges, known),
        "workers": len(workers),
        "slots": sum(each.concurrency for each in workers),
        "queues": {
            each.name: {**_numbers(gauges, [each]), "paused": each.paused} for each in known
        },
    }


def _for_workers(gauges: Gauges, queues: Sequence[QueueRecord]) -> dict[str, Any]:
    taken = [each for each in queues if not each.paused]
    numbers = _numbers(gauges, taken)
    return {**numbers, "running": sum(each.running for each in queues)}


def _numbers(gauges: Gauges, queues: Sequence[QueueRecord]) -> dict[str, Any]:
    summed = {"due": 0, "scheduled": 0, "waiting": 0, "running": 0}
    for each in queues:
        for state, count in counts_of(each):
            summed[state] += count
    oldest = max((gauges.age_of(each) for each in queues), default=0.0)
    return {**summed, "oldest_seconds": round(oldest, 3)}
