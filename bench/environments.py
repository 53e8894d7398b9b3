"""Virtual environments, one for each peer, created when first needed and kept in .bench."""

import subprocess
import sys
from pathlib import Path

from bench.catalogue import Contestant

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".bench"


def python_of(contestant: Contestant) -> Path:
    """Return the interpreter for a system; installs the system if needed.

    All environments have the same Python as the project.
    """
    if not contestant.requirements:
        return Path(sys.executable)
    folder = FOLDER / contestant.module
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(contestant.requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        _make(folder, python, contestant)
        stamp.write_text(wanted)
    return python


def _make(folder: Path, python: Path, contestant: Contestant) -> None:
    print(f"installing {', '.join(contestant.requirements)} into {folder}", file=sys.stderr)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(python), *contestant.requirements)


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True)
