"""A load generator for one path, in its own process: keep-alive connections over plain sockets.

`python bench/load.py PORT PATH SECONDS` prints {"answered", "failed", "seconds"} as JSON. It waits
for the answer to every request, so `answered` is exact. It needs about a tenth of the CPU time that
the fastest measured server needs for a request. If `wrk` is installed, that is used instead.
"""

import json
import select
import socket
import sys
import time

CONNECTIONS = 32
_OK = b"HTTP/1.1 200"
_LENGTH = b"content-length: "


class _Connection:
    """One keep-alive connection with one request under way."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._received = b""

    def send(self) -> None:
        self.socket.sendall(self._request)

    def receive(self) -> bool | None:
        """Return True if the answer is a 200, None if it is not complete yet."""
        data = self.socket.recv(65_536)
        if not data:
            raise SystemExit("the server closed a connection")
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return None
        self._received = b""
        return head.startswith(_OK)


def _length(head: bytes) -> int:
    start = head.index(_LENGTH) + len(_LENGTH)
    end = head.find(b"\r\n", start)
    return int(head[start : end if end >= 0 else None])


def load(port: int, path: str, seconds: float) -> dict[str, float]:
    """Keep every connection busy for some seconds."""
    request = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n".encode()
    connections = [_Connection(port, request) for _ in range(CONNECTIONS)]
    by_number = {each.socket.fileno(): each for each in connections}
    poll = select.epoll()
    for number, each in by_number.items():
        poll.register(number, select.EPOLLIN)
        each.send()
    started = time.perf_counter()
    deadline, open_requests = started + seconds, CONNECTIONS
    counts = {True: 0, False: 0}
    while open_requests:
        for number, _ in poll.poll():
            succeeded = by_number[number].receive()
            if succeeded is None:
                continue
            counts[succeeded] += 1
            if time.perf_counter() < deadline:
                by_number[number].send()
            else:
                open_requests -= 1
    took = time.perf_counter() - started
    return {"answered": counts[True], "failed": counts[False], "seconds": took}


if __name__ == "__main__":
    print(json.dumps(load(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))))
