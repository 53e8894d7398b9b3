"""The thread that sends: given up when it hangs, and reconnected when it was cut."""

import asyncio
import os
import threading
from collections.abc import Hashable, Iterator
from typing import Any

import pytest

from afterword.errors import FleetUnavailable
from afterword.fleets import sender as module
from afterword.fleets.remote import Args, Connection, Function, Kwargs, RemoteTask, unbound
from afterword.fleets.sender import HUNG_FOR, MOST_HUNG, Sender, hand_over
from afterword.model.clock import Clock
from afterword.model.job import JobState


class Fleet(RemoteTask):
    """A fleet with connections that the test controls."""

    system = "Test"
    name = "test:task"

    def __init__(self) -> None:
        self.connected = 0
        self.sent: list[str] = []
        self.cut = False  # the present connection does not work any more
        self.gate = threading.Event()
        self.gate.set()
        self.slow = threading.Event()

    @property
    def func(self) -> Function:
        return unbound

    @property
    def fleet(self) -> Hashable:
        return id(self)

    def check(self, args: Args, kwargs: Kwargs) -> None: ...

    def connect(self) -> Connection:
        self.connected += 1
        self.cut = False
        return Link(self)

    def ask(self, fleet_id: str) -> JobState | None:
        return None


class Link:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        self._fleet.gate.wait()
        if args == ("slow",):
            self._fleet.slow.wait()
        if self._fleet.cut or args == ("refused",):
            raise ConnectionError(fleet_id)
        self._fleet.sent.append(fleet_id)

    def close(self) -> None: ...


class Moved(Clock):
    """A clock that the test moves."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.gate.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Moved:
    moved = Moved()
    monkeypatch.setattr(module, "clock", moved)
    monkeypatch.setattr(module, "SEND_WITHIN", 60.0)
    return moved


@pytest.fixture
def impatience(clock: Moved, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Short timeouts for calls that hang, undone before calls that must not fail."""
    monkeypatch.setattr(module, "SEND_WITHIN", 0.05)
    return monkeypatch


def send(fleet: Fleet, fleet_id: str, *args: Any) -> None:
    asyncio.run(hand_over(fleet, fleet_id, args, {}))


def test_a_connection_that_was_cut_while_idle_is_made_again(fleet: Fleet) -> None:
    send(fleet, "a")
    fleet.cut = True

    send(fleet, "b")

    assert (["a", "b"], 2) == (fleet.sent, fleet.connected)


def test_after_a_failure_the_fleet_is_left_alone_for_a_moment(fleet: Fleet, clock: Moved) -> None:
    with pytest.raises(ConnectionError):
        send(fleet, "a", "refused")
    with pytest.raises(FleetUnavailable, match=r"failed just now.*ConnectionError"):
        send(fleet, "b")
    clock.at += 0.6

    send(fleet, "c")
    send(fleet, "d")

    assert ["c", "d"] == fleet.sent


def test_a_thread_that_hangs_is_abandoned_and_only_a_few_of_them(
    fleet: Fleet, clock: Moved, impatience: pytest.MonkeyPatch
) -> None:
    fleet.gate.clear()
    for number in range(MOST_HUNG):
        with pytest.raises(FleetUnavailable, match="did not answer"):
            send(fleet, f"hangs {number}")
        clock.at += 100.0
    with pytest.raises(FleetUnavailable, match="failed just now"):
        send(fleet, "one too many")

    impatience.setattr(module, "SEND_WITHIN", 60.0)
    fleet.gate.set()  # the broker is back: what hung arrives, and the threads end

    async def again() -> None:
        while True:
            try:
                await hand_over(fleet, "again", (), {})
            except FleetUnavailable:
                clock.at += 100.0
                await asyncio.sleep(0.01)
            else:
                return

    asyncio.run(asyncio.wait_for(again(), 30))
    assert "again" in fleet.sent
    assert {*fleet.sent} <= {"hangs 0", "hangs 1", "hangs 2", "again"}


def test_threads_that_hang_for_ever_do_not_end_the_sending(
    fleet: Fleet, clock: Moved, impatience: pytest.MonkeyPatch
) -> None:
    """A client without timeouts hangs like this when its host is gone."""
    gone = fleet.gate = threading.Event()
    for number in range(MOST_HUNG):
        with pytest.raises(FleetUnavailable, match="did not answer"):
            send(fleet, f"hangs {number}")
        clock.at += 100.0
    fleet.gate = threading.Event()
    fleet.gate.set()  # another host answers
    with pytest.raises(FleetUnavailable, match="failed just now"):
        send(fleet, "too early")
    clock.at += HUNG_FOR
    impatience.setattr(module, "SEND_WITHIN", 60.0)

    send(fleet, "later")

    assert "later" in fleet.sent
    gone.set()


@pytest.mark.usefixtures("impatience")
def test_calls_behind_one_that_hangs_fail_with_it(fleet: Fleet, clock: Moved) -> None:
    fleet.gate.clear()
    sender = Sender(fleet)

    async def three() -> list[BaseException | None]:
        sends = [sender.send(fleet, f"{number}", (), {}) for number in range(3)]
        return await asyncio.gather(*sends, return_exceptions=True)

    errors = asyncio.run(three())
    fleet.gate.set()

    assert [FleetUnavailable] * 3 == [type(error) for error in errors]
    assert {*fleet.sent} <= {"0"}  # the others were not sent later


def test_a_slow_fleet_is_not_taken_for_a_silent_one(
    fleet: Fleet, clock: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that had to wait too long are tried later, and the thread continues."""
    monkeypatch.setattr(module, "SEND_WITHIN", 2.0)  # of which "first" needs a moment
    sender = Sender(fleet)

    async def several() -> list[BaseException | None]:
        first = asyncio.ensure_future(sender.send(fleet, "first", (), {}))
        others = [sender.send(fleet, f"{number}", ("slow",), {}) for number in range(3)]
        return await asyncio.gather(first, *others, return_exceptions=True)

    fleet.slow.clear()
    errors = asyncio.run(several())
    fleet.slow.set()
    monkeypatch.setattr(module, "SEND_WITHIN", 60.0)
    asyncio.run(sender.send(fleet, "later", (), {}))

    assert [type(None), *[FleetUnavailable] * 3] == [type(error) for error in errors]
    assert (["first", "0", "later"], 1) == (fleet.sent, fleet.connected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_sender_of_its_own(fleet: Fleet) -> None:
    send(fleet, "parent")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            send(fleet, "child")
            code = 0 if fleet.connected == 2 else 2
        finally:
            os._exit(code)

    _, status = os.waitpid(pid, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
