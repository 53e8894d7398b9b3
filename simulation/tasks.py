"""The tasks of the simulation: each says when it begins and how it ends."""

import asyncio
from collections.abc import Callable
from typing import Any

from afterword import current_task, task
from simulation.ledger import Ledger, Run
from simulation.primitives import STANDS

_ledgers: list[Ledger] = []  # the one of the seed that runs


def use(ledger: Ledger) -> None:
    """Write into this ledger from now on."""
    _ledgers[:] = [ledger]


def _ledger() -> Ledger:
    return _ledgers[0]


_time: Any = STANDS["time"]


class TaskFails(Exception):
    """As tasks do."""


def _begin(token: str) -> Run:
    context = current_task()
    return _ledger().begin(token, context.job_id, context.attempt)


async def quick(token: str) -> None:
    """In the event loop, without a wait."""
    _ledger().end(_begin(token))


async def slow(token: str) -> None:
    """In the event loop, for a while."""
    run = _begin(token)
    try:
        await asyncio.sleep(_ledger().choose((0.0, 0.01, 0.3)))
    except BaseException:
        _ledger().cut(run)
        raise
    _ledger().end(run)


def thread(token: str) -> None:
    """In a thread."""
    run = _begin(token)
    _time.sleep(_ledger().choose((0.0, 0.01, 0.3)))
    _ledger().end(run)


async def fails(token: str) -> None:
    """Never succeeds."""
    run = _begin(token)
    await asyncio.sleep(_ledger().choose((0.0, 0.01)))
    _ledger().end(run, failed=True)
    raise TaskFails


@task(retries=2, backoff=0.1)
async def flaky(token: str) -> None:
    """Succeeds at the second try."""
    run = _begin(token)
    failed = run.attempt == 1
    _ledger().end(run, failed=failed)
    if failed:
        raise TaskFails


@task(queue="mail")
async def mail(token: str) -> None:
    """In a queue that people pause and limit."""
    await slow(token)


@task(limit=1)
async def single(token: str) -> None:
    """One at a time, over all processes."""
    await slow(token)


@task(limit=2)
async def paired(token: str) -> None:
    """Two at a time, over all processes."""
    await slow(token)


@task(rate="2/s")
async def rated(token: str) -> None:
    """Two begin in a second, over all processes."""
    _ledger().end(_begin(token))


async def scheduled(token: str) -> None:
    """An occurrence of the schedule."""
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
    """A call that has no name under which another process could find it."""

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
