"""Servers under load, with a fault that is caused again and again."""

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
    """Load servers, cause a fault again and again, then let them finish undisturbed.

    Args:
        mischief: causes the fault; called `times` times, with a pause of `every` seconds.
        url: another URL through which the servers reach the store.
        excused: True if healthy processes may lose their leases, so that runs may not end.
        environment: variables of the servers.
    """
    fleet = lab.fleet(size, url=url, **{"ORDER": "concurrent", "LEASE": 10, **environment})
    fleet.store = lab.store()  # without the other URL
    clients = Clients(seconds=0.02)
    with fleet.running():
        with clients.loading(fleet.servers, jobs=3):
            wait_until(lambda: clients.acked, description="the servers take orders")
            for _ in range(times):
                mischief(fleet)
                time.sleep(every)
        wait_ended(fleet, timeout=90)
        for server in fleet.servers:
            server.stop()  # each writes down what it knows
        if excused:
            fleet.disturbed |= {line.pid for line in fleet.ledger.lines()}
        return Result(fleet.verdict(clients), times, fleet.logs(), _answers(clients)), clients


def wait_ended(fleet: Fleet, timeout: float) -> None:
    """Wait until all jobs have ended, even while the store is unavailable."""
    wait_until(
        lambda: unfinished(fleet) == 0,
        description=f"all jobs have ended; see {fleet.folder}",
        timeout=timeout,
        every=0.1,
    )


def unfinished(fleet: Fleet) -> int | None:
    """Count the jobs that have not ended; None while the store is unavailable."""
    try:
        return fleet.unfinished()
    except StoreUnavailable:
        return None


def seconds_until(predicate: Callable[[], object], *, description: str, timeout: float) -> float:
    """Wait for a condition; returns the seconds that it took."""
    begin = time.monotonic()
    wait_until(predicate, description=description, timeout=timeout, every=0.005)
    return time.monotonic() - begin


def accepted(fleet: Fleet) -> int:
    """Count the attempts whose outcome has been accepted so far."""
    return len(fleet.ledger.lines("accepted"))


def some(dice: random.Random, pids: Sequence[int]) -> Sequence[int]:
    """Choose one of them at random, if there are any."""
    return [dice.choice(pids)] if pids else []


def _answers(clients: Clients) -> Sequence[str]:
    return [f"{len(clients.refusals):,} requests refused"]
