"""The sender: one thread for each fleet and process, which sends calls one after the other.

Only this thread waits for a broker. The caller waits in the event loop, for at most five seconds.
Then the thread is abandoned, with its connection, because it may hang in the client of the other
system, where it cannot be interrupted. The call may still arrive; so every call has an id that
stays the same.

After a failure nothing is sent to the fleet for a moment, a little longer each time, and calls are
refused at once: a thousand jobs for a dead broker must not take the places of others. At most a few
threads are left hanging. Then the fleet is tried again when one of them has returned, or after ten
minutes, because a client may wait for ever for a host that is gone.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Hashable

from afterword.errors import FleetUnavailable
from afterword.fleets.remote import SEND_WITHIN, Args, Connection, Kwargs, RemoteTask
from afterword.model.clock import Clock
from afterword.model.fork import in_child

LONGEST_PAUSE = 15.0  # seconds for which a fleet that fails is left alone
MOST_HUNG = 3  # threads of a fleet that may hang at the same time; then one more every
HUNG_FOR = 600.0  # seconds
_Sending = tuple["concurrent.futures.Future[None]", Callable[[Connection], None]]

clock = Clock()


class Sender:
    """The thread of one fleet, and its connection."""

    def __init__(self, task: RemoteTask) -> None:
        self._task = task
        self._waiting: queue.SimpleQueue[_Sending | None] = queue.SimpleQueue()
        self._sending = 0  # calls that wait for an answer
        self._answers = 0  # of the present thread and those before it
        self._failures = 0  # since the last success
        self._paused_until = 0.0  # monotonic
        self._hung = 0  # threads that were abandoned and have not come back
        self._abandoned_at = 0.0  # monotonic, the last of them
        self._error = ""
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        name = f"afterword-{self._task.system.lower()}"
        threading.Thread(target=self._run, args=(self._waiting,), name=name, daemon=True).start()

    async def send(self, task: RemoteTask, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Send a call; return once the broker has it.

        Raises:
            FleetUnavailable: there was no answer within five seconds, or a failure just before.
            Exception: of the other system's client.
        """
        self._require_answers()
        # In the context of the attempt, whose trace the client of the other system continues.
        context = contextvars.copy_context()
        sending: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            waiting = self._waiting
            waiting.put((sending, lambda to: context.run(to.send, task, fleet_id, args, kwargs)))
        self._sending += 1
        answers = self._answers
        try:
            await asyncio.wait_for(asyncio.wrap_future(sending), SEND_WITHIN)
        except TimeoutError:
            if answers == self._answers:  # otherwise it is slow, and has taken those before
                self._abandon(waiting)
            raise FleetUnavailable(
                f"The fleet of {task.name} ({task.system}) did not answer within {SEND_WITHIN:g}"
                " seconds. It is tried again until it does. Is its broker running?"
            ) from None
        finally:
            self._sending -= 1

    def _require_answers(self) -> None:
        """Refuse a call while the fleet is left alone, and while one call tries if it is back."""
        now = clock.monotonic()
        hung = self._hung >= MOST_HUNG and now < self._abandoned_at + HUNG_FOR
        if now < self._paused_until or hung or (self._failures and self._sending):
            raise FleetUnavailable(
                f"The fleet of {self._task.system} failed just now, and is tried again in a moment:"
                f" {self._error}"
            )

    def _pause(self, error: BaseException) -> None:
        with self._lock:
            self._failures += 1
            pause = min(2.0 ** (self._failures - 2), LONGEST_PAUSE)  # 0.5 s, 1 s, 2 s ...
            self._paused_until = clock.monotonic() + pause
            self._error = type(error).__name__

    def _abandon(self, hung: "queue.SimpleQueue[_Sending | None]") -> None:
        """Abandon the thread, and start another one; the calls behind it have failed."""
        with self._lock:
            if self._waiting is not hung:
                return  # another caller has done it
            self._waiting = queue.SimpleQueue()
            self._hung += 1
            self._abandoned_at = clock.monotonic()
        self._pause(TimeoutError())
        with contextlib.suppress(queue.Empty):
            while (item := hung.get_nowait()) is not None:
                _settle(item[0], FleetUnavailable(f"The call before it hung: {self._error}"))
        hung.put(None)  # ends the thread, should it ever come back
        self._start()

    # ------------------------------------------------------------------ in the thread

    def _run(self, waiting: "queue.SimpleQueue[_Sending | None]") -> None:
        connection: Connection | None = None
        while (item := waiting.get()) is not None:
            sending, send = item
            is_old = connection is not None
            try:
                connection = connection or self._task.connect()
                # Not before: a call that was given up while this connected must not be sent.
                if not sending.set_running_or_notify_cancel():
                    continue
                connection = self._sent(send, connection, is_old and self._waiting is waiting)
            except BaseException as error:
                _close(connection)
                connection = None
                if not self._task.is_of_call(error):
                    self._pause(error)
                _settle(sending, error)
            else:
                self._failures, self._paused_until = 0, 0.0
                _settle(sending, None)
            self._answers += self._waiting is waiting
        _close(connection)
        with self._lock:
            self._hung -= 1  # only an abandoned thread is told to end

    def _sent(
        self, send: Callable[[Connection], None], connection: Connection, again: bool
    ) -> Connection:
        """Send, and return the connection that did it; an old one may have been cut meanwhile.

        Args:
            again: True to try it once more, by a new connection.
        """
        try:
            send(connection)
        except Exception as error:
            if not again or self._task.is_of_call(error):
                raise
            _close(connection)
            connection = self._task.connect()
            send(connection)
        return connection


def _close(connection: Connection | None) -> None:
    with contextlib.suppress(Exception):  # it is broken, and nothing of it is needed any more
        if connection is not None:
            connection.close()


def _settle(sending: "concurrent.futures.Future[None]", error: BaseException | None) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # no caller waits any more
        if error is None:
            sending.set_result(None)
        else:
            sending.set_exception(error)


class _Senders:
    """The senders of this process; a forked child has none of them."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Sender] = {}
        self._lock = threading.Lock()
        in_child(self._forget)

    def _forget(self) -> None:
        self._known, self._lock = {}, threading.Lock()

    def of(self, task: RemoteTask) -> Sender:
        """Return the sender of a task's fleet."""
        with self._lock:
            if task.fleet not in self._known:
                self._known[task.fleet] = Sender(task)
            return self._known[task.fleet]


_senders = _Senders()


async def hand_over(task: RemoteTask, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
    """Send a call to its fleet; see `Sender.send`."""
    await _senders.of(task).send(task, fleet_id, args, kwargs)
