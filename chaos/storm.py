"""Servers under load, and somebody who does something to them again and again."""

import random
import time
from collections.abc import Callable, Sequence

from afterword.errors import StoreUnavailable
from chaos.lab import Lab
from tests.crash.faults import Result
from tests.crash.fleet import Clients, Fleet
from tests.helpers import wait_until


def storm(
    lab: Lab,
    mischief: Callable[[Fleet], object],
    *,
    times: int,
    every: float,
    url: str | None = None,
    size: int = 3,
    excused: bool = False,
    **environment: object,
) -> tuple[Result, Clients]:
    """Load servers, do mischief meanwhile, and let them finish in peace.

    Args:
        mischief: what is done, so many times, with a pause of `every` seconds.
        url: the way to the store, if there is another one.
        excused: whether a healthy process may lose its lease, so that its runs come to no end.
        environment: of the servers.
    """
    fleet = lab.fleet(size, url=url, **{"ORDER": "concurrent", "LEASE": 10, **environment})
    fleet.store = lab.store()  # by the direct way
    clients = Clients(seconds=0.02)
    with fleet.running():
        with clients.loading(fleet.servers, jobs=3):
            wait_until(lambda: clients.acked, description="the servers take orders")
            for _ in range(times):
                mischief(fleet)
                time.sleep(every)
        wait_ended(fleet, timeout=90)
        for server in fleet.servers:
            server.stop()  # not before each has written down what it knows
        if excused:
            fleet.disturbed |= {line.pid for line in fleet.ledger.lines()}
        return Result(fleet.verdict(clients), times, fleet.logs(), _answers(clients)), clients


def wait_ended(fleet: Fleet, timeout: float) -> None:
    """Wait until all jobs have ended, whatever the store is going through."""
    wait_until(
        lambda: unfinished(fleet) == 0,
        description=f"all jobs have ended; see {fleet.folder}",
        timeout=timeout,
        every=0.1,
    )


def unfinished(fleet: Fleet) -> int | None:
    """How many jobs have yet to end; None if the store does not say."""
    try:
        return fleet.unfinished()
    except StoreUnavailable:
        return None


def seconds_until(predicate: Callable[[], object], *, description: str, timeout: float) -> float:
    """How long it takes."""
    begin = time.monotonic()
    wait_until(predicate, description=description, timeout=timeout, every=0.005)
    return time.monotonic() - begin


def accepted(fleet: Fleet) -> int:
    """How many attempts have ended so far."""
    return len(fleet.ledger.lines("accepted"))


def some(dice: random.Random, pids: Sequence[int]) -> Sequence[int]:
    """One of them at random, if there are any."""
    return [dice.choice(pids)] if pids else []


def _answers(clients: Clients) -> Sequence[str]:
    return [f"{len(clients.refusals):,} requests refused"]
