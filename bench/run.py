"""Run benchmarks: `scripts/bench R E D`, or all of them when none is named.

It prints tables, and writes the results to bench/results/ and the docs. Machines are shared and
noisy, so only ratios of figures that were measured in turns within one run count.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.catalogue import PEERS, chosen
from bench.environments import ROOT
from bench.measurements import MEASUREMENTS
from bench.options import Options
from bench.result import publish


def main() -> None:
    """Read the command line, measure, and publish."""
    said = _parser().parse_args()
    options = _options(said)
    for name in said.measurement or MEASUREMENTS:
        for result in MEASUREMENTS[name].measure(options):
            print(result.as_markdown())
            if not (said.dry_run or said.quick):
                publish(result, ROOT)


def _options(said: argparse.Namespace) -> Options:
    quick = said.quick

    def pick(given: float | None, quickly: float, usually: float) -> float:
        return given if given is not None else quickly if quick else usually

    return Options(
        rounds=int(pick(said.rounds, 1, 3)),
        peers=chosen(said.peers),
        jobs=int(pick(said.jobs, 2_000, 20_000)),
        seconds=pick(said.seconds, 1.0, 5.0),
        paced=int(pick(said.paced, 100, 500)),
        idle=pick(said.idle, 3.0, 20.0),
        workers=said.workers or ([1, 2] if quick else [1, 2, 4, 8]),
        queued=int(pick(said.queued, 10_000, 1_000_000)),
        ended=int(pick(said.ended, 100_000, 10_000_000)),
        only=said.only,
        folder=said.folder,
        urls=said.url,
        postgres_url=said.postgres_url,
        redis_url=said.redis_url,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog="\n".join(f"{each.name:10} {each.summary}" for each in MEASUREMENTS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("measurement", nargs="*", help="see below", type=_known)
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="PEER",
        help=f"systems to compare with: {', '.join(each.name for each in PEERS)}. Default: all",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers and one round")
    parser.add_argument("--rounds", type=int, help="number of rounds. Default: 3")
    parser.add_argument("--jobs", type=int, help="E, D, I, S: jobs. Default: 20,000")
    parser.add_argument("--seconds", type=float, help="R, E: most for a measurement. Default: 5")
    parser.add_argument("--paced", type=int, help="L: jobs. Default: 500")
    parser.add_argument("--idle", type=float, help="I: seconds. Default: 20")
    parser.add_argument("--workers", type=int, nargs="*", help="S: processes. Default: 1 2 4 8")
    parser.add_argument("--queued", type=int, help="G, V: jobs that wait. Default: 1,000,000")
    parser.add_argument("--ended", type=int, help="G, V: jobs in the history. Default: 10,000,000")
    parser.add_argument("--only", nargs="*", default=[], help="R: these cases, besides the first")
    parser.add_argument("--url", action="append", help="G: an empty store; may be repeated")
    parser.add_argument("--postgres-url", help="a server to use. Default: a private one")
    parser.add_argument("--redis-url", help="a server with an empty database. Default: private")
    parser.add_argument("--folder", type=Path, help="a folder for the stores, e.g. on another disk")
    parser.add_argument("--dry-run", action="store_true", help="write no files")
    return parser


def _known(name: str) -> str:
    if name not in MEASUREMENTS:
        known: Sequence[str] = list(MEASUREMENTS)
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return name


if __name__ == "__main__":
    main()
