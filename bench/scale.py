"""S: jobs drained per second by the number of worker processes, and with many small queues."""

import sys
from dataclasses import asdict
from statistics import median

from bench.catalogue import OURS, Contestant
from bench.drain import Drained, drain
from bench.options import Options
from bench.result import Result
from bench.stores import Stores

QUEUES = 100

# Keys are numbers of workers; 0 is one worker with many queues.
Figures = dict[int, list[Drained]]


def measure(options: Options) -> list[Result]:
    """Measure Afterword alone: each number of workers once a round."""
    contestants = [each for each in OURS if each.function == "async def"]
    figures: dict[Contestant, Figures] = {each: {} for each in contestants}
    with Stores(options.folder, options.postgres_url, options.redis_url) as stores:
        for _ in range(options.rounds):
            for contestant in contestants:
                _measure_all(contestant, stores, options, figures[contestant])
        versions = stores.versions()
    result = Result(
        name="S",
        title="Jobs per second by the number of worker processes",
        header=["", *(f"{number}" for number in options.workers), f"1, {QUEUES} queues"],
        rows=[_row(contestant, each) for contestant, each in figures.items()],
        notes=f"A stored backlog of {options.jobs:,} no-op jobs for each worker process, from the"
        " first start in the last process to the moment when the store says that all have"
        f" ended; in parentheses: to one worker. Last: the jobs of one worker, spread over"
        f" {QUEUES} queues.",
        data={
            contestant.title: {
                str(number or f"1, {QUEUES} queues"): [asdict(each) for each in measured]
                for number, measured in by_number.items()
            }
            for contestant, by_number in figures.items()
        },
        versions=versions,
    )
    return [result]


def _measure_all(
    contestant: Contestant, stores: Stores, options: Options, figures: Figures
) -> None:
    for number in (*options.workers, 0):
        workers, queues = number or 1, 1 if number else QUEUES
        drained = drain(contestant, stores, options.jobs * workers, workers, queues)
        figures.setdefault(number, []).append(drained)
        print(f"{contestant.title}, {workers} workers, {queues} queues: {drained}", file=sys.stderr)


def _row(contestant: Contestant, figures: Figures) -> list[str]:
    rates = {number: median(each.per_second for each in all_) for number, all_ in figures.items()}
    base = rates.get(1)
    cells = [
        f"{rate:,.0f}" + (f" ({rate / base:.2f} ×)" if base else "") for rate in rates.values()
    ]
    return [contestant.title, *cells]
