"""Run experiments, print what they found, publish it; exit 1 if a requirement is not met."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from chaos import experiments, large, report
from chaos.findings import Finding

EXPERIMENTS = {
    "A": experiments.kill_in_the_middle,
    "B": experiments.deploy_a_new_task,
    "C": experiments.outlast_the_lease,
    "D": experiments.block_the_loop,
    "F1": large.kill_workers,
    "F2": large.kill_web_process,
    "F3": large.crash_at_each_point,
    "F4": large.stop_workers,
}
QUICK = ["A", "B", "C", "D"]


def main() -> int:
    """What `scripts/chaos` calls."""
    options = _options()
    findings = [_run(name) for name in options.names or QUICK]
    if not options.dry_run:
        report.publish(findings)
    return 0 if all(finding.passed for finding in findings) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Break real servers on purpose; docs/reliability.md gets the results.",
        epilog="\n".join(str(run.__doc__) for run in EXPERIMENTS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(QUICK)}")
    parser.add_argument("--dry-run", action="store_true", help="print only, write nothing")
    options = parser.parse_args()
    # Not `choices=`: argparse holds the empty list against it, too.
    if unknown := [name for name in options.names if name not in EXPERIMENTS]:
        parser.error(f"NAME is one of {list(EXPERIMENTS)}, not {unknown[0]!r}")
    return options


def _run(name: str) -> Finding:
    """Run one experiment in a folder of its own, which is kept if the experiment fails."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    finding = EXPERIMENTS[name](folder)
    if finding.passed:
        shutil.rmtree(folder)
    mark = "ok    " if finding.passed else f"FAILED (see {folder})"
    print(f"{name:3} {mark} {finding.question}\n    {finding.measured}", flush=True)
    return finding


if __name__ == "__main__":
    sys.exit(main())
