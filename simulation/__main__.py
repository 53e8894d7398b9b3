"""Runs seeds: `scripts/simulate [--seeds N] [--seed S] [--mutants]`."""

import argparse
import os
import sys
import time

from simulation.install import install


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default: 1,000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--seed", type=int, help="only this one, with all of its steps")
    parser.add_argument("--trace", action="store_true", help="print the digest of each seed")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    options = parser.parse_args()

    install()
    from simulation import run

    run.prepare()
    if options.seed is not None:
        result = run.run(options.seed, talk=print)
        print("\n".join(result.scenario.lines()))
        print(result.violations, result.trace, result.turns)
        return bool(result.violations)
    began, failed = time.perf_counter(), 0
    for seed in range(options.first, options.first + options.seeds):
        result = run.run(seed)
        if options.trace:
            print(seed, result.trace)
        if result.violations:
            failed += 1
            print(f"seed {seed}: {result.violations[0]}", flush=True)
            if not options.keep_going:
                break
    print(f"{options.seeds} seeds, {failed} failed, {time.perf_counter() - began:.1f} s")
    return bool(failed)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts have one order
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]])
    sys.exit(main())
