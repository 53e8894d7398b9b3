"""The simulation: seeds hold, each replays exactly, and known faults are found.

It replaces the threads and clocks of afterword, so it runs in separate processes.
"""

import random
from pathlib import Path

import pytest

from simulation.mutating import ROOT, Mutant, mutants, search

SEEDS = 120
PARTS = 2  # shared by the processes of pytest-xdist


@pytest.mark.parametrize("part", range(PARTS))
def test_seeds_hold(part: int) -> None:
    size = SEEDS // PARTS

    said = search(ROOT / "src", "--first", str(part * size), "--seeds", str(size))

    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{size} seeds, 0 failed" in said.stdout


def test_a_seed_takes_the_same_steps_each_time() -> None:
    first = random.randrange(1_000_000)
    alone = [_traces(seed, 1) for seed in range(first + 3, first + 5)]

    among_others = _traces(first, 6)

    assert among_others[3:5] == [trace for (trace,) in alone]


def _traces(first: int, seeds: int) -> list[str]:
    said = search(ROOT / "src", "--first", str(first), "--seeds", str(seeds), "--trace", "--all")
    return [line for line in said.stdout.splitlines() if line.partition(" ")[0].isdigit()][:seeds]


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_fault_that_is_put_back_is_one_of_the_present_source(
    mutant: Mutant, tmp_path: Path
) -> None:
    source = mutant.apply(tmp_path)

    files = [path for kind in ("*.py", "*.sql") for path in (ROOT / "src").rglob(kind)]
    assert [path for path in files if _differs(path, source)]


def _differs(path: Path, source: Path) -> bool:
    return path.read_bytes() != (source / path.relative_to(ROOT / "src")).read_bytes()


def test_a_seed_that_fails_is_printed_as_a_short_script(tmp_path: Path) -> None:
    (fault,) = mutants("retry_clock")

    said = search(fault.apply(tmp_path), "--seeds", "400")

    assert said.returncode == 1
    script = said.stdout.partition("Made small:")[2].strip().splitlines()
    assert script[0].strip().startswith("Afterword(app")
    assert len(script) <= 10  # the settings, the actions, and the command to run it again
