"""A thread that hears of other processes' commits (LISTEN); all it says is: look.

What it misses while its connection is down is found by polling, so it is a hint and no promise.
"""

import os
import random
import select
import threading
from collections.abc import Mapping

import psycopg

from afterword import telemetry
from afterword.stores.postgres.session import CHANNEL

_MAX_PAUSE = 5.0  # seconds between tries to connect
_CHECK_EVERY = 30.0  # seconds after which a silent connection is asked whether it lives


class Listener:
    """Listens from `start` to `stop`.

    Args:
        parameters: how to connect; directly, for a pooler forgets who listens.
    """

    def __init__(self, parameters: Mapping[str, object]) -> None:
        self._parameters = parameters
        self._heard = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_reader = self._wake_writer = -1

    @property
    def started(self) -> bool:
        """Whether it has been started and not yet stopped."""
        return self._thread is not None

    def start(self) -> None:
        """Begin to listen."""
        self._stopping.clear()
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="afterword-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; harmless when stopped."""
        if self._thread is None:
            return
        self._stopping.set()
        os.write(self._wake_writer, b"x")
        self._thread.join()
        self._thread = None
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def forget(self) -> None:
        """In a forked child: its thread has not followed."""
        if self._thread is not None:
            self._thread = None
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def heard(self) -> bool:
        """Whether anything was announced since the last call."""
        if not self._heard.is_set():
            return False
        self._heard.clear()
        return True

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(**self._parameters, autocommit=True) as connection:  # type: ignore[arg-type]
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._heard.set()  # whatever was announced while nobody listened
                    pause = 0.1
                    self._listen(connection)
            except (psycopg.Error, OSError) as error:
                telemetry.step_failed(error)
            self._stopping.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _MAX_PAUSE)

    def _listen(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        socket = connection.fileno()
        while not self._stopping.is_set():
            readable, _, _ = select.select([socket, self._wake_reader], [], [], _CHECK_EVERY)
            if socket in readable:
                connection.pgconn.consume_input()
                while connection.pgconn.notifies():
                    self._heard.set()
            elif not readable:
                connection.execute("SELECT 1")
