"""Run a benchmark: `scripts/bench R` (requests), `D` (drain) or `G` (growth).

Prints a table, and writes it to bench/results/ and into docs/performance.md. Machines are shared
and noisy, so only ratios count, of figures that were measured in turns within one run.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Read the command line, measure, and publish."""
    sys.path.insert(0, str(ROOT))
    from bench import backlog, growth, requests
    from bench.result import publish

    options = _options()
    if options.benchmark == "R":
        result = requests.measure(options.rounds, options.seconds, options.only, options.folder)
    elif options.benchmark == "G":
        result = growth.measure(options.url, options.queued, options.ended)
    else:
        result = backlog.measure(options.rounds, options.jobs, options.folder)
    print(result.as_markdown())
    if not options.dry_run:
        publish(result, ROOT)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("benchmark", choices=["R", "D", "G"])
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many")
    parser.add_argument("--seconds", type=float, default=4.0, help="R: load per measurement")
    parser.add_argument("--only", nargs="*", default=[], help="R: these cases, beside the first")
    parser.add_argument("--jobs", type=int, default=20_000, help="D: the backlog")
    parser.add_argument(
        "--url", action="append", help="G: an empty store; more than one may be given"
    )
    parser.add_argument("--queued", type=int, default=1_000_000, help="G: jobs that wait")
    parser.add_argument("--ended", type=int, default=10_000_000, help="G: jobs in the history")
    parser.add_argument("--folder", type=Path, help="where the stores are, e.g. another disk")
    parser.add_argument("--dry-run", action="store_true", help="write no files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
