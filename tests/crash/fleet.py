"""Several real servers on one store, and the clients that load them."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from afterword import JobRecord, JobState
from afterword.store.opening import open_store
from tests.crash.ledger import Ledger, Verdict, check
from tests.helpers import Server, wait_until

TARGET = "tests.crash.app:app"


class Fleet:
    """Server processes that share one store, as seen from outside.

    Args:
        folder: holds the ledger, the logs and a SQLite store.
        size: number of servers.
        url: the store. Default: a SQLite file in the folder.
        environment: variables for `tests.crash.app`.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 1,
        *,
        url: str | None = None,
        **environment: object,
    ) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger")
        self.url = url or sqlite_in(folder)
        self.environment = {
            "STORE": self.url,
            "LEDGER": str(self.ledger.path),
            **{name: str(value) for name, value in environment.items()},
        }
        self.servers = [self.server() for _ in range(size)]
        self.disturbed: set[int] = set()
        self._started: set[Server] = set()
        self.store = open_store(self.url)

    def server(self, *arguments: str, **environment: object) -> Server:
        """Make another server for this store, not yet started and not yet part of the fleet.

        Args:
            arguments: for uvicorn.
            environment: variables that differ from the others'.
        """
        changed = {name: str(value) for name, value in environment.items()}
        together = {**self.environment, **changed}
        return Server(TARGET, self.folder, environment=together, arguments=arguments)

    @contextmanager
    def running(self) -> Iterator["Fleet"]:
        """Start every server, and kill those that still run afterwards."""
        try:
            self.start(*self.servers)
            self.store.open()
            yield self
        finally:
            self.store.close()
            for server in self._started:
                if server.process.poll() is None:
                    server.resume()
                    server.kill()

    def start(self, *servers: Server, wait: bool = True) -> None:
        """Start servers at the same time, perhaps again, and wait until they answer."""
        for server in servers:
            self._started.add(server)
            server.start(wait=False)
        for server in servers if wait else ():
            wait_until(server.answers, description=f"{server.url} answers; see {server.log}")

    def begin(self, clients: "Clients", task: str, seconds: float, jobs: int = 1) -> Sequence[str]:
        """Order jobs from the first server, and wait until all have started; returns their ids."""
        with self.servers[0].client() as client:
            numbers = clients.send(client, jobs, task=task, seconds=seconds)
        wait_until(
            lambda: self.ledger.numbers("started") >= set(numbers),
            description=f"{task} has started; see {self.folder}",
        )
        return [clients.ids[number] for number in numbers]

    # ------------------------------------------------------------------ faults

    def kill(self, server: Server) -> None:
        """Kill -9 a server; the jobs that it was running are excused."""
        self.disturbed.add(server.process.pid)
        server.kill()

    @contextmanager
    def paused(self, server: Server) -> Iterator[None]:
        """Stop a server by SIGSTOP until the block has ended."""
        self.disturbed.add(server.process.pid)
        server.pause()
        try:
            yield
        finally:
            server.resume()

    # ------------------------------------------------------------------ what is known

    def records(self) -> Sequence[JobRecord]:
        """Return every job of the store."""
        return self.store.find(limit=1_000_000)

    def record(self, job_id: str) -> JobRecord:
        """Return one job of the store."""
        return self.store.get([job_id])[0]

    def unfinished(self) -> int:
        """Count the jobs that have not ended."""
        counts = self.store.count()
        return counts[JobState.QUEUED] + counts[JobState.RUNNING]

    def wait_unfinished(self, most: int, timeout: float) -> None:
        """Wait until at most this number of jobs has not ended."""
        wait_until(
            lambda: self.unfinished() <= most,
            description=f"{most} jobs are left; see {self.folder}",
            timeout=timeout,
        )

    def wait_finished(self, timeout: float) -> None:
        """Wait until every stored job has ended."""
        wait_until(
            lambda: self.unfinished() == 0,
            description=f"all jobs have ended; see {self.folder}",
            timeout=timeout,
            every=0.05,
        )

    def logs(self) -> str:
        """Return the logs of all servers of this folder."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("server-*.log")))

    def verdict(self, clients: "Clients", poison: Sequence[int] = ()) -> Verdict:
        """Return the checker's verdict on everything so far."""
        return check(
            self.ledger,
            self.records(),
            acked=clients.acked,
            sent=clients.sent,
            disturbed=self.disturbed,
            poison=poison,
        )


def sqlite_in(folder: Path) -> str:
    """Return the URL of a folder's SQLite store."""
    return f"sqlite:///{folder / 'jobs.db'}"


class Clients:
    """Clients that send orders one after the other, and remember the answers.

    Args:
        order: fields of `tests.crash.app.Order` that are the same for all.
    """

    def __init__(self, **order: object) -> None:
        self.sent: list[Sequence[int]] = []
        self.acked: list[Sequence[int]] = []
        self.ids: dict[int, str] = {}
        self.refusals: list[httpx.Response] = []
        self._order = order
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def send(self, client: httpx.Client, jobs: int = 1, **order: object) -> Sequence[int]:
        """Send an order for some jobs; returns their numbers. An error is no acknowledgement."""
        numbers = self._take_numbers(jobs)
        body: Mapping[str, object] = {**self._order, **order, "numbers": numbers}
        try:
            answer = client.post("/orders", json=body)
        except httpx.TransportError:
            return numbers
        if answer.is_success:
            with self._lock:
                self.acked.append(numbers)
                self.ids.update(zip(numbers, answer.json(), strict=True))
        else:
            self.refusals.append(answer)
        return numbers

    def _take_numbers(self, jobs: int) -> Sequence[int]:
        with self._lock:
            numbers = list(range(self._next, self._next + jobs))
            self._next += jobs
            self.sent.append(numbers)
            return numbers

    @contextmanager
    def loading(self, servers: Sequence[Server], jobs: int) -> Iterator[None]:
        """Let one client per server send orders until the block ends."""
        threads = [
            threading.Thread(target=self._load, args=(server, jobs), daemon=True)
            for server in servers
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self._stop.clear()

    def _load(self, server: Server, jobs: int) -> None:
        with server.client() as client:
            while not self._stop.is_set():
                acked = len(self.acked)
                self.send(client, jobs)
                if len(self.acked) == acked:
                    time.sleep(0.02)  # the server is down: do not spin
