"""Test of the simulation itself: it must find known faults that are put back.

Each patch in `mutants/` puts one fault back into a copy of the source. Seeds run on it until one
fails; docs/simulation.md publishes the number of seeds that each fault took.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATCHES = Path(__file__).parent / "mutants"
PAGE = ROOT / "docs" / "simulation.md"
MOST_SEEDS = 20_000
STARTS = (0, 100_000, 200_000)  # the first seeds of three searches
_TABLE = re.compile("(?<=<!-- mutants -->\n).*?(?=<!-- end of mutants -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch with a fault that was once in the source."""

    patch: Path

    @property
    def name(self) -> str:
        """The patch's file name, without the suffix."""
        return self.patch.stem

    @property
    def fault(self) -> str:
        """The first line of the patch: a description of the fault."""
        return self.patch.read_text().partition("\n")[0]

    def apply(self, folder: Path) -> Path:
        """Copy the source and patch the fault into it; returns the copy's path."""
        source = folder / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        command = ["patch", "--quiet", "--strip=1", f"--input={self.patch}"]
        subprocess.run(command, cwd=folder, check=True)
        return source


def mutants(part: str = "") -> Sequence[Mutant]:
    """Return the mutants whose name contains `part`."""
    return [Mutant(each) for each in sorted(PATCHES.glob("*.patch")) if part in each.stem]


def search(source: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run seeds on a copy of the source."""
    command = [sys.executable, "-W", "ignore", "-m", "simulation", *options]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def main(part: str) -> int:
    """Search for the mutants; returns the number that were not found."""
    rows, missed = [], 0
    for mutant in mutants(part):
        row, found = _row(mutant)
        print(row, flush=True)
        rows.append(row)
        missed += not found
    if not part:
        head = "| fault put back | seeds until found | broken first |\n|---|---|---|\n"
        table = head + "".join(f"{row}\n" for row in rows)
        PAGE.write_text(_TABLE.sub(lambda _: table, PAGE.read_text()))
    return missed


def _row(mutant: Mutant) -> tuple[str, bool]:
    counts, rules = [], []
    with tempfile.TemporaryDirectory() as folder:
        source = mutant.apply(Path(folder))
        for first in STARTS:
            said = search(source, "--first", str(first), "--seeds", str(MOST_SEEDS), "--plain")
            found = re.search(r"seed (\d+) fails: (.+)", said.stdout)
            counts.append(int(found[1]) + 1 - first if found else None)
            rules.append(found[2] if found else said.stderr.strip()[-200:] or "not found")
    seen = ", ".join(f"{each:,}" if each else f"> {MOST_SEEDS:,}" for each in counts)
    row = f"| `{mutant.name}`: {mutant.fault} | {seen} | {rules[0]} |"
    return row, None not in counts
