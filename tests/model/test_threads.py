"""The worker's threads."""

import threading
from functools import partial

import pytest

from afterword.model.threads import Threads
from tests.helpers import wait_until


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def wait_at(gate: threading.Event) -> None:
    gate.wait(60)


def test_threads_are_started_when_needed_and_never_more_than_the_size() -> None:
    threads, gate, started = Threads(3, "sized"), threading.Event(), list[int]()

    def start(number: int) -> None:
        started.append(number)
        gate.wait(60)

    for number in range(10):
        threads.submit(partial(start, number))
        assert min(number + 1, 3) == len(named("sized"))
    wait_until(lambda: len(started) == 3, description="three calls run")
    gate.set()
    wait_until(lambda: len(started) == 10, description="all calls have run")
    threads.stop()
    wait_until(lambda: not named("sized"), description="the threads have ended")

    assert list(range(10)) == sorted(started)


def test_an_idle_thread_takes_the_next_call() -> None:
    threads, finished = Threads(10, "idle"), threading.Semaphore(0)
    for _ in range(50):
        threads.submit(finished.release)
        assert finished.acquire(timeout=60)
        wait_until(lambda: threads._idle._value == len(named("idle")), description="they rest")
    count = len(named("idle"))
    threads.stop()

    assert 1 == count


def test_calls_run_in_the_order_of_their_submission() -> None:
    threads, seen = Threads(1, "ordered"), list[int]()
    for number in range(1_000):
        threads.submit(partial(seen.append, number))
    wait_until(lambda: len(seen) == 1_000, description="all calls have run")
    threads.stop()

    assert list(range(1_000)) == seen


def test_stop_waits_for_nobody() -> None:
    """A call that never returns keeps neither `stop` nor the process from ending."""
    threads, gate = Threads(2, "stopped"), threading.Event()
    threads.submit(partial(wait_at, gate))
    wait_until(lambda: named("stopped"), description="it runs")
    threads.stop()
    daemons = [thread.daemon for thread in named("stopped")]  # it still runs
    gate.set()
    wait_until(lambda: not named("stopped"), description="it ends after its call")

    assert [True] == daemons


def test_without_a_thread_a_call_waits_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system cannot start another thread."""
    threads, seen = Threads(2, "scarce"), []
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads.submit(lambda: seen.append("first"))
    monkeypatch.setattr(threading.Thread, "start", start)
    threads.submit(lambda: seen.append("second"))
    wait_until(lambda: len(seen) == 2, description="both have run")
    threads.stop()

    assert ["first", "second"] == seen
