"""Chromium, and a dashboard that a real server serves to it."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    sync_playwright,
)
from starlette.applications import Starlette
from starlette.routing import Mount

from afterword.admin.running import add_by
from afterword.dashboard import Source, dashboard
from afterword.model.clock import Clock
from afterword.store.protocol import Store
from tests.helpers import free_port, wait_until

# The shell is Chromium without windows: the same pages take half the CPU time.
CHROMIUM = (
    os.environ.get("AFTERWORD_TEST_CHROMIUM")
    or shutil.which("chromium-headless-shell")
    or shutil.which("chromium")
)
ROOT = "/admin/jobs"
# Without these, Chromium contacts its maker's hosts at every start.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_AXE = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    const shown = (node) => `${node.html} ${node.failureSummary}`;
    return violations.map((each) => `${each.id}: ${each.nodes.map(shown).join("\\n")}`);
}"""


@dataclass(slots=True)
class Served:
    """A dashboard behind a server in a thread.

    Args:
        url: its first screen, without the slash at the end.
    """

    url: str
    store: Store
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self, timeout: float = 10.0) -> bool:
        """Ask the server to end, and wait; False if it did not end."""
        self.server.should_exit = True
        self.thread.join(timeout)
        return not self.thread.is_alive()


@contextmanager
def serving(store: Store, **options: Any) -> Iterator[Served]:
    """Serve a dashboard over this store."""
    source = Source(store=lambda: store, add=lambda job, by: add_by(store, job, by), clock=Clock())
    mounted = dashboard(source, **{"authorize": lambda request: "operate", **options})
    port = free_port()
    config = uvicorn.Config(
        Starlette(routes=[Mount(ROOT, mounted)]),
        port=port,
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=8,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, description="the server has started")
    served = Served(f"http://127.0.0.1:{port}{ROOT}", store, server, thread)
    try:
        yield served
    finally:
        assert served.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS])
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """A page, and its errors."""

    page: Page
    trouble: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """Return what axe finds in the page as it is now."""
        source = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
        self.page.evaluate(source)
        found: list[str] = self.page.evaluate(_AXE)
        return found

    def overflow(self) -> int:
        """Return the number of pixels by which the page is wider than the window."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )


def tab_in(context: BrowserContext) -> Tab:
    """Open a tab that notes dialogs, and errors of scripts and of the policy."""
    tab = Tab(context.new_page())

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            tab.trouble.append(message.text)

    def refuse(dialog: Dialog) -> None:
        tab.trouble.append(dialog.message)
        dialog.dismiss()

    tab.page.on("console", note)
    tab.page.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.page.on("dialog", refuse)
    return tab
