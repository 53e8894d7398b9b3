"""Packages that clash with ours, installed beside the environments of the benchmark when needed.

arq needs a Redis client that is older than Celery's. It takes everything else from our environment.
"""

import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

FOLDER = ROOT / ".bench"


def packages(name: str, *requirements: str) -> str:
    """The folder in which these are installed; it belongs into the path of a process."""
    target, stamp = FOLDER / name / "packages", FOLDER / name / "requirements.txt"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        target.mkdir(parents=True, exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target)]
        subprocess.run([*command, *requirements], check=True)
        stamp.write_text(wanted)
    return str(Path(target))
