"""Pictures of the dashboard for the README and the docs, light and dark: `scripts/screenshots`."""

import base64
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize

from afterword.demo.day import filled
from tests.dashboard.browsing import CHROMIUM, Served, chromium, serving
from tests.helpers import ROOT

FOLDER = ROOT / "docs" / "images"
QUALITY = 0.75
SCALE = 1.25
WIDE: ViewportSize = {"width": 1280, "height": 850}
PHONE: ViewportSize = {"width": 390, "height": 844}
SCREENS = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/{failed}",
    "failures": "/failures",
}
LOOKS: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# Chromium writes WebP, which takes a third of the bytes of a PNG.
_AS_WEBP = """async ([png, quality]) => {
    const picture = new Image();
    picture.src = png;
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return canvas.toDataURL("image/webp", quality);
}"""


def main() -> None:
    """Take all pictures."""
    if CHROMIUM is None:
        sys.exit("The screenshots need Debian's chromium: apt-get install chromium")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with (
        tempfile.TemporaryDirectory() as folder,
        filled(Path(folder) / "afterword.db") as (store, named),
        serving(store) as served,
        chromium() as browser,
    ):
        take_all(browser, served, named)


def take_all(browser: Browser, served: Served, named: dict[str, str]) -> None:
    """Take a picture of each screen in each look, and one of a phone."""
    blank = browser.new_page()
    for look in LOOKS:
        for size, screens in ((WIDE, SCREENS), (PHONE, {"phone": "/"})):
            context = browser.new_context(
                viewport=size, color_scheme=look, device_scale_factor=SCALE
            )
            page = context.new_page()
            for name, path in screens.items():
                page.goto(served.url + path.format(**named))
                save(page, blank, FOLDER / f"{name}-{look}.webp")
            context.close()


def save(page: Page, blank: Page, file: Path) -> None:
    """Save a picture of the window."""
    png = base64.b64encode(page.screenshot(animations="disabled")).decode()
    url = blank.evaluate(_AS_WEBP, [f"data:image/png;base64,{png}", QUALITY])
    file.write_bytes(base64.b64decode(url.partition(",")[2]))
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
