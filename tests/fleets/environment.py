"""An environment with arq, whose Redis client is older than what Celery needs.

It is made once, beside the environments of the benchmark, and takes everything else from ours.
"""

import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

FOLDER = ROOT / ".bench" / "fleet-arq"
REQUIREMENTS = "arq>=0.28,<0.29"


def site_packages() -> Path:
    """The folder with arq and its Redis, which goes before those of ours."""
    target, stamp = FOLDER / "packages", FOLDER / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS:
        target.mkdir(parents=True, exist_ok=True)
        (FOLDER.parent / ".gitignore").write_text("*\n")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target)]
        subprocess.run([*command, REQUIREMENTS], check=True)
        stamp.write_text(REQUIREMENTS)
    return target
