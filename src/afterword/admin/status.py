"""The facts about a store, in words."""

from collections.abc import Iterator

from afterword.admin.duration import show_span
from afterword.admin.health import Snapshot, capped, serves
from afterword.admin.words import survives
from afterword.model.job import JobState
from afterword.store.protocol import Store


def store_facts(store: Store, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield the names of facts, and the facts; those that do not apply are empty."""
    yield "store", f"{store.url} ({survives(store.durability)})"
    yield "jobs", ", ".join(f"{capped(snapshot.counts[each])} {each}" for each in _shown(snapshot))
    if oldest := snapshot.oldest:
        yield "oldest", f"due for {show_span(snapshot.waits(oldest))}, in queue {oldest.name}"
    yield "workers", _workers_in_words(snapshot)
    yield "schedules", f"{len(snapshot.schedules):,}" if snapshot.schedules else ""


def _shown(snapshot: Snapshot) -> list[JobState]:
    """Return the states to show; most applications hand nothing over."""
    return [each for each in JobState if snapshot.counts[each] or each is not JobState.HANDED_OVER]


def _workers_in_words(snapshot: Snapshot) -> str:
    serving = [worker for worker in snapshot.workers if serves(worker)]
    if not serving:
        return "none that takes jobs"
    slots = sum(worker.concurrency for worker in serving)
    running = sum(worker.running for worker in snapshot.workers)
    return f"{len(serving):,} with {slots:,} slots, {running:,} running"
