"""The tasks of the simulation: each reports to the ledger when it begins and how it ends."""

import asyncio
from collections.abc import Callable
from typing import Any

from afterword import current_task, task
from simulation.ledger import Ledger, Run
from simulation.primitives import STANDS

_ledgers: list[Ledger] = []  # only the current seed's


def use(ledger: Ledger) -> None:
    """Report to this ledger from now on."""
    _ledgers[:] = [ledger]


def _ledger() -> Ledger:
    return _ledgers[0]


_time: Any = STANDS["time"]


class TaskFails(Exception):
    """An error that a task raises."""


def _begin(token: str) -> Run:
    context = current_task()
    return _ledger().begin(token, context.job_id, context.attempt)


async def quick(token: str) -> None:
    """Run in the event loop without a wait."""
    _ledger().end(_begin(token))


async def slow(token: str) -> None:
    """Run in the event loop for a while."""
    run = _begin(token)
    try:
        await asyncio.sleep(_ledger().choose((0.0, 0.01, 0.3)))
    except BaseException:
        _ledger().cut(run)
        raise
    _ledger().end(run)


def thread(token: str) -> None:
    """Run in a thread."""
    run = _begin(token)
    _time.sleep(_ledger().choose((0.0, 0.01, 0.3)))
    _ledger().end(run)


async def fails(token: str) -> None:
    """Fail always."""
    run = _begin(token)
    await asyncio.sleep(_ledger().choose((0.0, 0.01)))
    _ledger().end(run, failed=True)
    raise TaskFails


@task(retries=2, backoff=0.1)
async def flaky(token: str) -> None:
    """Fail at the first try and succeed at the second."""
    run = _begin(token)
    failed = run.attempt == 1
    _ledger().end(run, failed=failed)
    if failed:
        raise TaskFails


@task(queue="mail")
async def mail(token: str) -> None:
    """Run in a queue that people pause and limit."""
    await slow(token)


@task(limit=1)
async def single(token: str) -> None:
    """Run one at a time across all processes."""
    await slow(token)


@task(limit=2)
async def paired(token: str) -> None:
    """Run two at a time across all processes."""
    await slow(token)


@task(rate="2/s")
async def rated(token: str) -> None:
    """Run at a rate of two per second across all processes."""
    _ledger().end(_begin(token))


async def scheduled(token: str) -> None:
    """Run an occurrence of the schedule."""
    await slow(token)


KINDS: dict[str, Callable[..., Any]] = {
    "quick": quick,
    "slow": slow,
    "thread": thread,
    "fails": fails,
    "flaky": flaky,
    "mail": mail,
    "single": single,
    "paired": paired,
    "rated": rated,
}


def unstorable(token: str, kind: str) -> Callable[[], Any]:
    """Return a local function, which no other process can find by name."""

    async def here() -> None:
        run = _ledger().begin(token, None, 1)
        try:
            await asyncio.sleep(_ledger().choose((0.0, 0.01)))
        except BaseException:
            _ledger().cut(run)
            raise
        _ledger().end(run, failed=kind == "fails")
        if kind == "fails":
            raise TaskFails

    return here
