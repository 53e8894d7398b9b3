"""Packages that conflict with ours, installed beside the benchmark's environments when needed.

arq needs an older Redis client than Celery. Everything else comes from our environment.
"""

import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

FOLDER = ROOT / ".bench"


def packages(name: str, *requirements: str) -> str:
    """Return the folder of these packages, for the path of a process; installs them if needed."""
    target, stamp = FOLDER / name / "packages", FOLDER / name / "requirements.txt"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        target.mkdir(parents=True, exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target)]
        subprocess.run([*command, *requirements], check=True)
        stamp.write_text(wanted)
    return str(Path(target))
