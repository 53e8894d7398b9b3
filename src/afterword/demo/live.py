"""The live demo: a server that works, that a person may kill at any time, and that starts again."""

import http.client
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from afterword.demo.day import restore, steady
from afterword.demo.server import Server
from afterword.demo.shop import KINDS
from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.job import JobState
from afterword.model.records import Filter
from afterword.store.opening import open_store
from afterword.store.protocol import Store

APPLICATION = "afterword.demo.shop:app"
STORE = "afterword.db"
DOWN = 3.0  # seconds from the end of the server until it starts again
_BY = Actor(name="afterword demo", place="command line")
_PAUSE = 2.0  # seconds between two orders
_HISTORY = 3600.0  # seconds for which the shop seems to have been open
_PER_MINUTE = 93.0  # jobs that ended in that time: as many as the orders will add


def _act(store: Store) -> None:
    """Make some changes of a person, so that the audit has rows."""
    failed = [job.id for job in store.find(Filter(state=JobState.FAILED), 4)]
    store.limit({"images": 2}, _BY)
    store.pause(["mail"], _BY)
    store.resume(["mail"], _BY)
    store.retry(failed[:1], _BY)
    store.delete(failed[1:], _BY)


@dataclass(slots=True)
class Live:
    """A shop with a store, a server and a client, as long as the block runs.

    Args:
        folder: an empty directory for the store and the log.
        tell: prints a line of text.
        history: seconds for which the store has jobs that ended.
    """

    folder: Path
    tell: Callable[[str], None]
    history: float = _HISTORY
    store: Store = field(init=False)
    _server: Server = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Live":
        """Fill the store, and start the server.

        Raises:
            DemoFailed: it could not be started.
        """
        url = f"sqlite:///{self.folder / STORE}"
        self.store = open_store(url)
        self.store.open()
        chance = random.Random(7)
        ended = steady(KINDS, chance, Clock().now(), self.history, _PER_MINUTE)
        restore(self.store, ended)
        _act(self.store)
        self._server = Server(APPLICATION, self.folder, {"AFTERWORD_URL": url})
        self._server.start()
        self._threads = [threading.Thread(target=each) for each in (self._order, self._watch)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.stop()
        for each in self._threads:
            each.join()
        self.store.close()

    @property
    def pid(self) -> int:
        """The id of the server's present process."""
        return self._server.pid

    def kill(self) -> None:
        """Kill the server in the middle of its work."""
        self._server.kill()

    def _watch(self) -> None:
        """Start the server again whenever it has ended."""
        while not self._over.is_set():
            self._server.wait()
            if self._over.is_set():
                return
            running = self.store.count()[JobState.RUNNING]
            self.tell(
                f"The server is gone. Jobs that were running: {running}. It starts again in"
                f" {DOWN:g} seconds, and then they run again, as their next attempts."
            )
            if self._over.wait(DOWN):
                return
            self._server.start()
            self.tell(f"Started the server again (process {self.pid}) on the same store.")

    def _order(self) -> None:
        """Place an order now and then; while the server is gone, none is answered."""
        for number in itertools.count(10_000):
            if self._over.wait(_PAUSE):
                return
            connection = http.client.HTTPConnection(*self._server.address, timeout=10)
            try:
                connection.request("POST", f"/orders/{number}")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
