"""A shell that calls `afterword` in this process, with a store for jobs in every state."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from afterword.cli import main
from afterword.model.job import JobRecord, NewJob, new_id
from afterword.model.outcome import Completed, Failed, Outcome
from afterword.store.opening import open_store
from afterword.store.protocol import Claim, Settlement, Store
from tests.postgres import Server
from tests.stores import new_file

COMMAND = str(Path(sys.executable).with_name("afterword"))
WORKER = "0123456789abcdef"


KINDS = ("sqlite", "postgres")  # the kinds of stores that commands are tested on
ALL_KINDS = ("sqlite", "pysqlite", "postgres")


def new_url(kind: str, folder: Path, request: pytest.FixtureRequest, name: str = "jobs") -> str:
    """Return the URL of an empty store."""
    if kind != "postgres":
        return new_file(folder / f"{name}.db", kind)
    url: str = request.getfixturevalue("shared_url")
    server: Server = request.getfixturevalue("server")
    server.renew(url)
    return url


@dataclass(frozen=True, slots=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        return self.out.splitlines()


@dataclass(slots=True)
class Shell:
    """A shell that runs commands on one store."""

    store: Store
    url: str
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    joined: set[str] = field(default_factory=set)

    def run(self, *arguments: str) -> Done:
        """Run `afterword` with these arguments, on this store."""
        self.capsys.readouterr()
        self.monkeypatch.setenv("AFTERWORD_URL", self.url)
        self.monkeypatch.setattr(sys, "argv", ["afterword", *arguments])
        _build()  # typer's own, before it is replaced
        self.monkeypatch.setattr("typer.main.get_command", _built_once)
        with pytest.raises(SystemExit) as exited:
            main()
        written = self.capsys.readouterr()
        return Done(int(exited.value.code or 0), written.out, written.err)

    # ------------------------------------------------------------------ jobs in the store

    def join(self, worker: str = WORKER, queues: tuple[str, ...] = ("default",)) -> None:
        """Add a worker with four slots, which starts nothing by itself."""
        self.store.join(worker, 3600.0, queues, 4)
        self.store.take_note(worker, None)
        self.joined.add(worker)

    def add(self, task: str = "shop:pack", **values: Any) -> str:
        """Add a queued job; returns its id."""
        job = NewJob(**{"id": new_id(), "task": task, **values})
        self.store.add([job])
        return job.id

    def start(self, task: str = "shop:pack", **values: Any) -> Claim:
        """Add a running job; returns its claim."""
        if WORKER not in self.joined:
            self.join()
        job_id = self.add(task, **values)
        claims = self.store.claim(WORKER, [values.get("queue", "default")], 1_000)
        return next(claim for claim in claims if claim.id == job_id)

    def end(self, outcome: Outcome | None = None, task: str = "shop:pack", **values: Any) -> str:
        """Add a job that has ended, by default as completed; returns its id."""
        claim = self.start(task, **values)
        self.store.settle([Settlement(claim, outcome or Completed(), seconds=0.5)])
        return claim.id

    def fail(self, error: str = "ValueError: no", task: str = "shop:pack", **values: Any) -> str:
        """Add a job that has failed; returns its id."""
        return self.end(Failed(error), task, **values)

    def job(self, job_id: str) -> JobRecord:
        """Return a job's record in the store."""
        [found] = self.store.get([job_id])
        return found


@functools.cache
def _build() -> Callable[[Any], Any]:
    from typer.main import get_command  # not in the environment of the oldest FastAPI

    return get_command


def _built_once(commands: Any) -> Any:
    """Return the commands as typer builds them, but only once: that takes 3/4 of a call's time."""
    return _built(commands, len(commands.registered_commands), len(commands.registered_groups))


@functools.cache
def _built(commands: Any, *_: int) -> Any:
    return _build()(commands)


@contextmanager
def opened(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """Open a shell on a new store; this folder is its current directory."""
    monkeypatch.chdir(folder)
    store = open_store(url)
    store.open()
    try:
        yield Shell(store, url, capsys, monkeypatch)
    finally:
        store.close()
