"""Every public name of `Afterword` is on a page."""

import re

from afterword import Afterword
from tests.helpers import ROOT


def test_every_public_name_of_afterword_is_documented() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    names = [name for name in dir(Afterword()) if not name.startswith("_")]

    assert [] == [name for name in names if not re.search(rf"\b[Aa]fterword\.{name}\b", text)]
