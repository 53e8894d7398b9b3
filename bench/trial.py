"""A trial of one system on one empty store: ask its agent, run its workers, read its ledger."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.catalogue import Contestant
from bench.environments import ROOT, python_of
from bench.ledger import FOLDER, Ledger
from bench.peer import FUNCTION, QUEUES, STORE
from bench.stores import Store, Stores

ANSWER_WITHIN = 600.0  # seconds
START_WITHIN = 60.0
STOP_WITHIN = 10.0

Process = subprocess.Popen[str]


class TrialFailed(Exception):
    """A failure of a system to do what it was asked; the text includes its output."""


class Trial:
    """A contestant on its own store."""

    def __init__(self, contestant: Contestant, store: Store, folder: Path, queues: int = 1) -> None:
        self.contestant, self.store, self._queues = contestant, store, queues
        self.ledger = Ledger(folder)
        self._log = folder / "worker.log"
        self._folder = folder

    def ask(self, verb: str, *arguments: object) -> dict[str, Any]:
        """Ask its agent (bench/agent.py) and wait for the answer."""
        return self.answer(self.begin(verb, *arguments))

    def begin(self, verb: str, *arguments: object) -> Process:
        """Ask, and wait for the answer later."""
        command = [*self._agent(), verb, *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self._folder, env=self._environment(), stdout=subprocess.PIPE, text=True
        )

    def answer(self, process: Process) -> dict[str, Any]:
        """Wait for the answer to a question that was begun."""
        said, _ = process.communicate(timeout=ANSWER_WITHIN)
        if process.returncode:
            raise TrialFailed(f"{self.contestant.title}: {process.args!r} ended with an error")
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
        return answer

    @contextmanager
    def workers(self, number: int) -> Iterator[list[int]]:
        """Run worker processes; yields their ids. If one ends early, the error has its log."""
        with self._log.open("ab") as log:
            processes = [self._start_worker(log.fileno()) for _ in range(number)]
        try:
            yield [process.pid for process in processes]
            self._require_alive(processes)
        finally:
            _stop(processes)

    def wait_for_start(self, jobs: int = 1) -> None:
        """Wait until this number of jobs has started.

        Raises:
            TrialFailed: they have not started within a minute.
        """
        deadline = time.monotonic() + START_WITHIN
        while self.ledger.count() < jobs:
            if time.monotonic() > deadline:
                raise TrialFailed(f"{self.contestant.title}: no job has started\n{self.explain()}")
            time.sleep(0.005)

    def explain(self) -> str:
        """Return the end of the workers' log."""
        return self._log.read_text(errors="replace")[-4_000:] if self._log.exists() else ""

    def _start_worker(self, log: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self._agent(), "worker"],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _require_alive(self, processes: "list[subprocess.Popen[bytes]]") -> None:
        for process in processes:
            if process.poll() is not None:
                raise TrialFailed(f"{self.contestant.title}: a worker has ended\n{self.explain()}")

    def _agent(self) -> list[str]:
        return [str(python_of(self.contestant)), "-m", "bench.agent", self.contestant.module]

    def _environment(self) -> dict[str, str]:
        inherited = os.environ.get("PYTHONPATH")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*([inherited] if inherited else []), str(ROOT)]),
            STORE: self.store.url,
            FUNCTION: self.contestant.function,
            QUEUES: str(self._queues),
            FOLDER: str(self._folder),
        }


@contextmanager
def trial(contestant: Contestant, stores: Stores, *, queues: int = 1) -> Iterator[Trial]:
    """Begin a trial of a contestant on an empty store, with its tables created."""
    with (
        tempfile.TemporaryDirectory(prefix="afterword-bench-") as folder,
        stores.empty(contestant.kind) as store,
    ):
        begun = Trial(contestant, store, Path(folder), queues)
        begun.ask("prepare")
        yield begun


def _stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Ask the workers to end, then kill those that are left, with their child processes."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN
    while not all(map(_has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """True if it has ended; it is not reaped, so its id cannot become another process's."""
    if process.returncode is not None:
        return True
    return bool(os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
