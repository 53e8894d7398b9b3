"""The demo's clients: they place orders concurrently and record the responses."""

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus

CLIENTS = 8
_PAUSE = 0.015  # seconds between orders: without it, all are placed before a task has run
_TIMEOUT = 10.0  # seconds a client waits for a response


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that has arrived: its tasks are promised from now on."""

    order: int
    tasks: dict[str, str]  # job id: task name


class Load:
    """Clients that each place one order after the other, until the server is gone or they stop.

    Args:
        address: the server's host and port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.answers: list[Answer] = []
        self.refused = 0  # responses that promised nothing
        self._address = address
        self._orders = itertools.count(1)
        self._answered = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._place_orders) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Start to place orders."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def wait_for_answers(self, number: int, timeout: float) -> bool:
        """Wait for a number of responses; return False if it takes too long."""
        with self._answered:
            return self._answered.wait_for(lambda: len(self.answers) >= number, timeout)

    def stop(self) -> None:
        """Wait until every client has its response, or has given up."""
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _place_orders(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT)
        try:
            while not self._stopping:
                self._place_order(connection, next(self._orders))
                time.sleep(_PAUSE)
        except (OSError, http.client.HTTPException):
            return  # the server was killed before it responded: nothing was promised
        finally:
            connection.close()

    def _place_order(self, connection: http.client.HTTPConnection, order: int) -> None:
        connection.request("POST", f"/orders/{order}")
        response = connection.getresponse()
        body = response.read()
        with self._answered:
            if response.status == HTTPStatus.OK:
                self.answers.append(Answer(order, json.loads(body)))
            else:
                self.refused += 1
            self._answered.notify_all()
