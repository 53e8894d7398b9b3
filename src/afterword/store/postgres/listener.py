"""A thread that is notified of other connections' commits (LISTEN), and wakes the worker.

It is a hint: jobs that are committed while its connection is down are found by polling.
"""

import os
import random
import select
import threading
import time
from collections.abc import Callable, Mapping

import psycopg

from afterword import telemetry
from afterword.store.bells import PACE
from afterword.store.postgres.session import CHANNEL, unlimited

_MAX_PAUSE = 5.0  # seconds between tries to connect
_CHECK_EVERY = 30.0  # seconds after which a silent connection is asked whether it lives


class Listener:
    """Listens from `start` to `stop`.

    Args:
        parameters: to connect directly; a pooler forgets its listeners.
        is_ours: True for the server process of one of our own connections, which needs no hint.
    """

    def __init__(
        self, parameters: Mapping[str, object], is_ours: Callable[[int], bool] = lambda pid: False
    ) -> None:
        self._parameters = parameters
        self._is_ours = is_ours
        self.on_heard: Callable[[], object] | None = None  # called in the thread
        self._remind_at: float | None = None  # monotonic
        self._heard = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_reader = self._wake_writer = -1

    @property
    def started(self) -> bool:
        """True from `start` to `stop`."""
        return self._thread is not None

    def start(self) -> None:
        """Begin to listen."""
        self._stopping.clear()
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="afterword-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; harmless when stopped."""
        self.on_heard = self._remind_at = None
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
        self.on_heard = self._remind_at = None
        if self._thread is not None:
            self._thread = None
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def heard(self) -> bool:
        """True if anything was announced since the last call."""
        if not self._heard.is_set():
            return False
        self._heard.clear()
        return True

    def remind(self, seconds: float) -> None:
        """Wake the worker in so many seconds, as for a notification; harmless when stopped."""
        if self._thread is not None:
            self._remind_at = time.monotonic() + seconds
            os.write(self._wake_writer, b"x")

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(**self._parameters, autocommit=True) as connection:  # type: ignore[arg-type]
                    for name, value in unlimited(connection).items():
                        connection.execute(f"SET {name} = {value}".encode())
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._tell()  # of what was announced while this was not listening
                    pause = 0.1
                    self._listen(connection)
            except (psycopg.Error, OSError) as error:
                telemetry.step_failed(error)
            self._stopping.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _MAX_PAUSE)

    def _listen(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        socket = connection.fileno()
        while not self._stopping.is_set():
            wait = self._time_to_reminder(_CHECK_EVERY)
            readable, _, _ = select.select([socket, self._wake_reader], [], [], wait)
            if self._wake_reader in readable:
                os.read(self._wake_reader, 1024)
            if socket in readable:
                self._take_in(connection)
            elif not readable and wait == _CHECK_EVERY:
                connection.execute("SELECT 1")
            if self._time_to_reminder(1.0) <= 0:
                self._remind_at = None
                self._tell()

    def _time_to_reminder(self, most: float) -> float:
        at = self._remind_at
        return most if at is None else min(most, max(0.0, at - time.monotonic()))

    def _take_in(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        connection.pgconn.consume_input()
        news = False
        while notify := connection.pgconn.notifies():
            news = news or not self._is_ours(notify.be_pid)
        if news:
            self._tell()
            time.sleep(PACE)  # what is announced meanwhile is told at once

    def _tell(self) -> None:
        self._heard.set()
        try:
            if (on_heard := self.on_heard) is not None:
                on_heard()
        except Exception as error:  # after any error, the next notification must be handled
            telemetry.step_failed(error)
