"""Run experiments, print what they found, publish it; exit 1 if a requirement is not met."""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos import (
    clocks,
    deploy,
    disk,
    experiments,
    fleets,
    hosts,
    large,
    load,
    network,
    people,
    process,
    report,
    schedules,
    server,
    shutdown,
    tasks,
)
from chaos.findings import Finding
from chaos.lab import POSTGRES, SQLITE, Lab
from tests.postgres import Cluster

BOTH = (SQLITE, POSTGRES)


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment and the stores that it can run on."""

    run: Callable[[Lab], Finding]
    stores: tuple[str, ...] = BOTH


EXPERIMENTS = {
    "A": Experiment(experiments.kill_in_the_middle),
    "B": Experiment(experiments.deploy_a_new_task),
    "C": Experiment(experiments.outlast_the_lease),
    "D": Experiment(experiments.block_the_loop),
    "F1": Experiment(large.kill_workers),
    "F2": Experiment(large.kill_web_process),
    "F3": Experiment(large.crash_at_each_point),
    "F4": Experiment(large.stop_workers),
    "F5": Experiment(process.freeze_everything),
    "F6": Experiment(process.block_loops),
    "F7": Experiment(process.hold_the_gil),
    "F8": Experiment(process.crash_in_tasks),
    "F9": Experiment(tasks.raise_in_tasks),
    "F10": Experiment(tasks.ignore_cancelling),
    "F11": Experiment(tasks.outlast_limits),
    "F14": Experiment(disk.fill_the_disk),
    "F16": Experiment(disk.fail_writes, (SQLITE,)),
    "F17": Experiment(disk.lose_the_file, (SQLITE,)),
    "F18": Experiment(disk.damage_the_file, (SQLITE,)),
    "F19": Experiment(load.many_processes),
    "F20": Experiment(load.old_snapshot),
    "F23": Experiment(process.fork_after_open),
    "F24": Experiment(server.end_sessions, (POSTGRES,)),
    "F25": Experiment(network.cut_answers, (POSTGRES,)),
    "F26": Experiment(server.restart_server, (POSTGRES,)),
    "F30": Experiment(hosts.go_deaf, (POSTGRES,)),
    "F31": Experiment(network.half_open, (POSTGRES,)),
    "F32": Experiment(network.slow_and_lossy, (POSTGRES,)),
    "F33": Experiment(server.start_before_the_server, (POSTGRES,)),
    "F34": Experiment(clocks.set_clocks),
    "F35": Experiment(schedules.freeze_schedulers),
    "F36": Experiment(schedules.kill_schedulers),
    "F38": Experiment(server.lose_hints, (POSTGRES,)),
    "F39": Experiment(load.thundering_herd),
    "F40": Experiment(deploy.mix_releases),
    "F41": Experiment(deploy.change_tasks),
    "F42": Experiment(shutdown.drain_under_load),
    "F43": Experiment(shutdown.outlast_the_grace),
    "F44": Experiment(shutdown.leave_children),
    "F49": Experiment(people.press_twice),
    "H1": Experiment(fleets.kill_while_handing_over),
    "H2": Experiment(fleets.freeze_the_broker),
    "H3": Experiment(fleets.restart_the_broker),
    "H4": Experiment(fleets.alarm_the_broker),
    "N": Experiment(hosts.share_and_lose, (POSTGRES,)),
}
QUICK = ["A", "B", "C", "D"]


def main() -> int:
    """Run the experiments of the command line; returns the exit code."""
    options = _options()
    stores = [store for store in BOTH if options.store in (None, store.lower())]
    plan = [
        (name, store)
        for name in options.names or QUICK
        for store in EXPERIMENTS[name].stores
        if store in stores
    ]
    # Unlike the tests' server, this one writes through to the disk, as servers of users do.
    with Cluster(fsync="on", full_page_writes="on") as cluster:
        findings = [
            _run(name, cluster if store == POSTGRES else None, publish=not options.dry_run)
            for name, store in plan
        ]
    return 0 if all(findings) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Break real servers on purpose; docs/reliability.md gets the results.",
        epilog="\n".join(str(each.run.__doc__) for each in EXPERIMENTS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(QUICK)}")
    parser.add_argument("--store", choices=[store.lower() for store in BOTH], help="use only this")
    parser.add_argument("--dry-run", action="store_true", help="print the results, write no files")
    options = parser.parse_args()
    # Not `choices=`: argparse would refuse the empty list.
    if unknown := [name for name in options.names if name not in EXPERIMENTS]:
        parser.error(f"NAME is one of {list(EXPERIMENTS)}, not {unknown[0]!r}")
    return options


def _run(name: str, cluster: Cluster | None, *, publish: bool) -> bool:
    """Run one experiment in its own folder, which is kept if the experiment fails."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    try:
        finding = EXPERIMENTS[name].run(Lab(folder, cluster))
    except Exception:
        traceback.print_exc()
        print(f"{name:3} BROKE OFF (see {folder})", flush=True)
        return False
    if finding.passed:
        shutil.rmtree(folder)
    mark = "ok    " if finding.passed else f"FAILED (see {folder})"
    print(
        f"{name:3} {finding.store:10} {mark} {finding.question}\n    {finding.measured}", flush=True
    )
    if publish:
        report.publish([finding])
    return finding.passed


if __name__ == "__main__":
    sys.exit(main())
