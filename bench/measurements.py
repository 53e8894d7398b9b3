"""All measurements of `scripts/bench`: to add one, add an entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import drain, enqueue, growth, idle, injection, latency, listing, requests, scale
from bench.options import Options
from bench.result import Result


@dataclass(frozen=True, slots=True)
class Measurement:
    """One benchmark: its name on the command line, a summary, and the function that runs it."""

    name: str
    summary: str
    measure: Callable[[Options], Sequence[Result]]


MEASUREMENTS = {
    each.name: each
    for each in (
        Measurement("R", "requests per second with one task each", requests.measure),
        Measurement("E", "jobs stored per second", enqueue.measure),
        Measurement("D", "jobs drained per second by one and two workers", drain.measure),
        Measurement("L", "time from storing a job to its start", latency.measure),
        Measurement("I", "CPU and memory of an idle worker", idle.measure),
        Measurement("S", "drain by number of workers and of queues", scale.measure),
        Measurement("injection", "the cost of injection per attempt", injection.measure),
        Measurement("G", "the store with millions of waiting and ended jobs", growth.measure),
        Measurement("V", "the time of people's queries on such a store", listing.measure),
    )
}
