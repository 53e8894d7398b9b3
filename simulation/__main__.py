"""Run seeds: each decides a scenario of requests and faults, and the order of its threads."""

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from simulation.install import install

if TYPE_CHECKING:
    from simulation.run import Result


def main() -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args()
    if options.mutants:
        from simulation import mutating

        return mutating.main(options.only)
    install()
    from simulation import run

    run.prepare()
    if options.seed is not None:
        return _run_one(options.seed, steps=options.steps)
    return _run_many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="number of seeds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--all", action="store_true", help="go on after a seed that fails")
    parser.add_argument("--trace", action="store_true", help="print a digest of each seed's steps")
    parser.add_argument("--plain", action="store_true", help="do not shrink a failing scenario")
    parser.add_argument("--seed", type=int, help="run only this seed")
    parser.add_argument("--steps", action="store_true", help="with --seed: print each step")
    parser.add_argument("--mutants", action="store_true", help="put known faults back, find them")
    parser.add_argument("--only", default="", help="with --mutants: those named like this")
    return parser


def _run_one(seed: int, *, steps: bool) -> int:
    from simulation import run

    result = run.run(seed, talk=print if steps else None)
    print("\n".join(result.scenario.lines()))
    if result.violations:
        print("\n".join(result.violations))
        _show_small(result)
    print(f"seed {seed}: {'fails' if result.violations else 'holds'}, digest {result.trace}")
    return bool(result.violations)


def _run_many(options: argparse.Namespace) -> int:
    from simulation import run

    began, failed, seeds = (
        time.perf_counter(),
        0,
        range(options.first, options.first + options.seeds),
    )
    seed = options.first
    for seed in seeds:
        result = run.run(seed)
        if options.trace:
            print(seed, result.trace)
        if result.violations:
            failed += 1
            print(f"seed {seed} fails: {result.violations[0]}", flush=True)
            if not options.all:
                if not options.plain:
                    _show_small(result)
                    print(f"In full: scripts/simulate --seed {seed} --steps")
                break
    seconds = time.perf_counter() - began
    print(f"{seed + 1 - options.first} seeds, {failed} failed, {seconds:.1f} s")
    return bool(failed)


def _show_small(result: "Result") -> None:
    from simulation.shrink import shrink

    small = shrink(result)
    print("\nMade small:\n")
    print("\n".join(f"    {line}" for line in small.scenario.lines()))
    print(f"    (schedule {small.schedule}) {small.violations[0]}\n")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of strings have a fixed order
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]])  # noqa: S606
    sys.exit(main())
