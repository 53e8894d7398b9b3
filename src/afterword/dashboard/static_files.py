"""The files of the dashboard: styles, scripts, the icon. Their URLs change with their content."""

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_TEXT = r'"[^"\n]*"|\'[^\'\n]*\'|`[^`\n]*`'
_MARK = r"=>|&&|\|\||[!=]==|[=<>]|[,;{}()?:]"
_SPACED = re.compile(rf"(?P<text>{_TEXT})| *(?P<mark>{_MARK}) *")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, in memory."""

    name: str
    body: bytes
    media_type: str

    @property
    def path(self) -> str:
        """Its path below the dashboard's root."""
        digest = hashlib.blake2b(self.body, digest_size=6).hexdigest()
        return f"/static/{digest}/{self.name}"


@functools.cache
def static_files() -> dict[str, StaticFile]:
    """Read all files, by name, once."""
    files = (each for each in sorted(FOLDER.iterdir()) if each.suffix in _TYPES)
    return {each.name: StaticFile(each.name, _body(each), _TYPES[each.suffix]) for each in files}


def _body(file: Path) -> bytes:
    body = file.read_bytes()
    if file.suffix == ".css":
        return _compact(body.decode()).encode()
    own_script = file.suffix == ".js" and ".min." not in file.name
    return _shortened(body.decode()).encode() if own_script else body


def _shortened(script: str) -> str:
    """Leave out indentation, lines of comments, and spaces outside texts that have no meaning.

    Our scripts have no text of several lines and no regular expressions, and each statement ends
    with a semicolon or a block.

    >>> _shortened("const a = (b) => {\\n  // why\\n  c(\\"d = e\\", b);\\n};")
    'const a=(b)=>{c("d = e",b)};'
    """
    lines = (line.strip() for line in script.splitlines())
    kept = "\n".join(line for line in lines if line and not line.startswith("//"))
    short = _SPACED.sub(lambda found: found["text"] or found["mark"], kept)
    return re.sub(r"(?<=[;,{}(])\n|;(?=\n?})", "", short)


def _compact(css: str) -> str:
    """Leave out comments, and white space that has no meaning; give variables names of a letter.

    >>> _compact("a  b {\\n  --ink: red;\\n  color: var(--ink);\\n}\\n")
    'a b{--a:red;color:var(--a)}'
    """
    css = re.sub(r"/\*.*?\*/|\s+", lambda found: " " if found[0].isspace() else "", css, flags=re.S)
    css = re.sub(r"\s*([{};,>])\s*", r"\1", css)
    css = re.sub(r"(?<=[\w-]):\s+", ":", css).replace(";}", "}").strip()
    css = re.sub(r"(?<=[\s:(,-])0(?=\.\d)", "", css)
    short = dict(zip(_variables(css), ascii_letters, strict=False))
    return re.sub(r"--([a-z][a-z-]*)", lambda found: f"--{short.get(found[1], found[1])}", css)


def _variables(css: str) -> list[str]:
    """Return the variables of a style sheet, in their order."""
    return list(dict.fromkeys(re.findall(r"(?<=[{;]--)[a-z][a-z-]*(?=:)", css)))
