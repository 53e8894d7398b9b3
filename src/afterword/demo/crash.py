"""The steps of the demo: load, crash, restart, check."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from afterword.demo import ledger
from afterword.demo.load import Load
from afterword.demo.report import Leftovers, Report, leftovers, report
from afterword.demo.server import DemoFailed, Server
from afterword.model.job import JobState
from afterword.store.opening import open_store
from afterword.store.protocol import Store

APPLICATION = "afterword.demo.application:app"
STORE = "afterword.db"
ANSWER_WITHIN = 30.0  # seconds for the orders before the crash
RECOVER_WITHIN = 30.0  # seconds for everything after it


@dataclass(frozen=True, slots=True)
class Crash:
    """A server that is killed after a number of responses, and started again.

    Args:
        folder: an empty directory for the store, the ledger and the log.
        answers: the number of responses before the server is killed.
        tell: prints a line of text for every step.
    """

    folder: Path
    answers: int
    tell: Callable[[str], None]

    def run(self) -> Report:
        """Run all steps.

        Raises:
            DemoFailed: the server could not be started, or did not answer.
        """
        self._ledger.touch()
        store = open_store(self._url)
        environment = {"AFTERWORD_URL": self._url, ledger.VARIABLE: str(self._ledger)}
        with Server(APPLICATION, self.folder, environment) as server:
            load = self._load_until_crash(server)
            store.open()
            try:
                left = self._look(load, store)
                restarted_at = self._restart(server)
                self._wait_until_done(store)
                server.stop()
                return report(load.answers, left, store, self._ledger, restarted_at)
            finally:
                store.close()

    @property
    def _url(self) -> str:
        return f"sqlite:///{self.folder / STORE}"

    @property
    def _ledger(self) -> Path:
        return self.folder / "ledger.txt"

    def _load_until_crash(self, server: Server) -> Load:
        server.start()
        self.tell(f"Started a FastAPI server (process {server.pid}) with a store in {self.folder}")
        self.tell("Sending requests; each adds one or two background tasks.")
        load = Load(server.address)
        load.start()
        answered = load.wait_for_answers(self.answers, ANSWER_WITHIN)
        server.kill()
        load.stop()
        if not answered:
            raise DemoFailed(
                f"The server must give {self.answers} good responses in {ANSWER_WITHIN:g} s, but it"
                f" gave {len(load.answers)}, and {load.refused} others. See {server.log}."
            )
        return load

    def _look(self, load: Load, store: Store) -> Leftovers:
        left = leftovers(store)
        self.tell(
            f"Killed it (SIGKILL) after {len(load.answers)} responses: {left.completed} tasks were"
            f" completed, {left.unfinished} were not; it had claimed {left.running} of these."
        )
        return left

    def _restart(self, server: Server) -> datetime:
        restarted_at = datetime.now(UTC)
        server.start()
        self.tell(f"Started the server again (process {server.pid}) on the same store.")
        return restarted_at

    def _wait_until_done(self, store: Store) -> None:
        """Wait for all jobs to end; the report shows those that do not in time."""
        deadline = time.monotonic() + RECOVER_WITHIN
        while time.monotonic() < deadline:
            counts = store.count()
            if not counts[JobState.QUEUED] + counts[JobState.RUNNING]:
                return
            time.sleep(0.05)
